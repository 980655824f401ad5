"""Which files make up a data set, what they hold, and how they are reached."""

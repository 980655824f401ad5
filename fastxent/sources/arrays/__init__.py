"""Arrays in memory and files of arrays as sources."""

"""Files of text as a source: read in order, a block at a time."""

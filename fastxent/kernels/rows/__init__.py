"""The losses of rows: one formula for one row, the loop over the rows of a block, the loop over blocks."""

"""What is scored: the spec of a loss, and batches of rows."""

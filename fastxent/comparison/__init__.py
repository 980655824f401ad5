"""Two sets of predictions of the same rows: joined, subtracted, tested."""

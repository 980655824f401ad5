"""A file for each loss: its options, what it applies to, and the row kernels that compute it."""

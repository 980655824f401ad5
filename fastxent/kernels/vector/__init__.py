"""Vectors of numbers as a value type for kernels, and how they are read from and written to memory."""

"""The public functions of Python."""

"""Statistics of scored rows, a file each."""

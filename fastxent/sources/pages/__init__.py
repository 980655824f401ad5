"""Parquet by its bytes: footers that are checked before anything relies on them, and pages decoded to arrays."""

"""Per-row results as Parquet files, each written in the order of its rows, whole or not at all."""

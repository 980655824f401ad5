"""Per-row results in the order of the rows: as a table, or as files that are written whole or not at all."""

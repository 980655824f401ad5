"""Anything that holds predictions, cut into splits that are read as batches. Sources know layouts and no losses."""

"""Sums over rows: exact sums, histograms, counts by class, by score, by group."""

"""Totals, the mergeable state of an evaluation, and the files that keep them."""

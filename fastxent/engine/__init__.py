"""One pass over a source: a plan, workers, totals, and rows written in order."""

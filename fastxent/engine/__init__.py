"""One pass over a source: a plan, splits scored by whatever runs them, what they leave behind merged, rows in files."""

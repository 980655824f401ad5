"""Arrow columns decoded to predictions, targets, weights and masks."""

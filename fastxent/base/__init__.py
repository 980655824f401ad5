"""What everything else stands on: errors, numbers, words and files. It knows nothing of predictions."""

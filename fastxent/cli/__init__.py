"""The shell command, the only place that prints."""

"""The pictures of evaluations and comparisons: functions that return a `Picture`, or None where there is nothing."""

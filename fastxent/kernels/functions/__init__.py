"""Elementary functions of numbers and vectors: exponentials, logarithms, two-part arithmetic."""

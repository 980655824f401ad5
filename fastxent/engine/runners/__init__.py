"""Ways to have the splits of a plan scored: on threads, and in other processes."""

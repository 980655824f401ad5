"""What row kernels are called with, and the scorecard that they write."""

"""How kernels are compiled, cached, called by address and written into one another."""

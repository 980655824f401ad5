"""Everything that is compiled: arrays in, arrays out. Kernels know no files and no specs."""

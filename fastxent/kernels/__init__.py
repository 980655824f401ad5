"""Everything that is compiled: arrays in, arrays out; knows no files and no specs."""

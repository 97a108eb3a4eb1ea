"""From a graph in floating point to one of 8-bit integers."""

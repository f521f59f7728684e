"""HTTP without I/O: codecs, heads and their rules. Imports `fault` only."""

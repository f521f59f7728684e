"""Fuzz targets, one for each parser: `python -m fuzz.h1_request`. Each names the only exits it permits."""

"""Measurements: `make bench`, or `python -m bench learning --worlds dot64 --seeds 1`."""

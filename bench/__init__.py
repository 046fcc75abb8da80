"""The benchmark: `python -m bench --help`, and README.md on how to read it."""

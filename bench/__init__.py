"""Benchmarks anyone can run: `python -m bench.NAME --help`."""

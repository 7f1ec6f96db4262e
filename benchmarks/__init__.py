"""Measures a model server against baselines in the same run: `python -m benchmarks`."""

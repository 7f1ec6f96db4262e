"""Compares how models of many frameworks are served: `python -m benchmarks.frameworks`."""

"""Measures what batching does to throughput and latency: `python -m benchmarks.batching`."""

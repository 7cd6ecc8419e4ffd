"""Measured speed: ``python -m benchmarks [room ...]`` writes RESULTS.md."""

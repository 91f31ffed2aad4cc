"""Measures the metrics service: `make bench-metrics`."""

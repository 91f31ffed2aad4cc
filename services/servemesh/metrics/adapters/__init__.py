"""Adapters: the store, OTLP, and what else the metrics service touches outside."""

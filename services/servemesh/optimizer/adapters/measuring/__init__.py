"""Measures models: speed, memory, size and metric, each model in a process of its own."""

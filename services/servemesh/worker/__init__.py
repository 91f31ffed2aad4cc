"""Holds resident Versions of models and runs them for callers, putting calls together into batches."""

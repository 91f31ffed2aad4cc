"""Use cases of the optimizer."""

"""The metrics service's use cases."""

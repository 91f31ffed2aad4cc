"""The metrics service on the wire."""

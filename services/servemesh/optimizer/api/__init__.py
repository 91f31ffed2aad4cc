"""The optimizer on the wire."""

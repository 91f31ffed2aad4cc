"""The gateway on the wire."""

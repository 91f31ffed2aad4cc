"""Values and rules of the registry: plain Python."""

"""Use cases of the registry, and the ports that they need."""

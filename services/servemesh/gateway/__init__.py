"""The control plane of the edge: turns the fleet into Envoy's tables and answers for the mesh as a whole."""

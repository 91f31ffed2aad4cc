"""gRPC as every process speaks it: one way to serve, one way to call, one edge where errors become statuses."""

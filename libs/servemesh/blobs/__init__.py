"""Weights by their sha256: the port of the blob store, the S3 adapter and the one in memory."""

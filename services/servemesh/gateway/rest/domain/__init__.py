"""How the protocol's JSON reads: documents, tensors, codes."""

"""The REST front: the Open Inference Protocol over HTTP, each request one gRPC call to the edge."""

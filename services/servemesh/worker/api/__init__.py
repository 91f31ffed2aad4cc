"""The worker on the wire: the Open Inference Protocol and the worker's own API."""

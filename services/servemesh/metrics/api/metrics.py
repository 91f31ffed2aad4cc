"""metrics.v1 on the wire, out of one object for each group of methods; methods that none offers are UNIMPLEMENTED."""

from __future__ import annotations

from typing import Any

from servemesh.api.metrics.v1 import metrics_pb2_grpc as pb_grpc


class MetricsApi(pb_grpc.MetricsServiceServicer):
    """Everything of metrics.v1 that `groups` offer, by the names of the methods."""

    def __init__(self, *groups: object) -> None:
        for group in groups:
            for name in vars(pb_grpc.MetricsServiceServicer):
                if not name.startswith("_") and hasattr(group, name):
                    setattr(self, name, getattr(group, name))

    def register(self, server: Any) -> None:
        """Add the service to a server."""
        pb_grpc.add_MetricsServiceServicer_to_server(self, server)

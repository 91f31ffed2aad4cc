"""The Open Inference Protocol as this worker speaks it; what is missing here answers UNIMPLEMENTED."""

from __future__ import annotations

from typing import Any

from servemesh.api.oip.v2 import inference_pb2_grpc as pb_grpc
from servemesh.rpc.health import Health
from servemesh.worker.api.inference import InferenceCalls
from servemesh.worker.api.metadata import MetadataCalls
from servemesh.worker.api.repository import RepositoryCalls
from servemesh.worker.service.catalog import Catalog
from servemesh.worker.service.inference import Inference


class OipApi(InferenceCalls, MetadataCalls, RepositoryCalls, pb_grpc.GRPCInferenceServiceServicer):
    """Every method of GRPCInferenceService but those for shared memory, trace and log settings."""

    def __init__(self, inference: Inference, catalog: Catalog, health: Health) -> None:
        self._inference = inference
        self._catalog = catalog
        self._health = health

    def register(self, server: Any) -> None:
        """Add the service to a server."""
        pb_grpc.add_GRPCInferenceServiceServicer_to_server(self, server)

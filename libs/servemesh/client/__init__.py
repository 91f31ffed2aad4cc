"""The Python SDK: `Client` and `AsyncClient` for a mesh's public address, numpy in and numpy out."""

from servemesh.client.aio_client import AsyncClient
from servemesh.client.results import (
    Alias,
    AliasMove,
    Deployment,
    InferResult,
    Model,
    Slot,
    Statistics,
    Status,
    Tensor,
    Traffic,
    Version,
    Worker,
)
from servemesh.client.retries import RetryPolicy
from servemesh.client.streaming import InferRequest
from servemesh.client.sync_client import Client

__all__ = [
    "Alias",
    "AliasMove",
    "AsyncClient",
    "Client",
    "Deployment",
    "InferRequest",
    "InferResult",
    "Model",
    "RetryPolicy",
    "Slot",
    "Statistics",
    "Status",
    "Tensor",
    "Traffic",
    "Version",
    "Worker",
]

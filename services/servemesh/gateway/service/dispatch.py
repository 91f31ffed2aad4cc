"""Runs single inference calls that Envoy could not place: waits for a holder, then forwards."""

from __future__ import annotations

import random

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.errors import UnavailableError
from servemesh.gateway.service.activator import Activator
from servemesh.gateway.service.ports import Metadata, Workers

ATTEMPTS_MAX = 3


class Dispatch:
    """Forwards a call to a worker that holds its model, another one if the first has gone."""

    def __init__(self, activator: Activator, workers: Workers, chance: random.Random) -> None:
        self._activator = activator
        self._workers = workers
        self._chance = chance

    async def infer(
        self, request: pb.ModelInferRequest, *, timeout_s: float, metadata: Metadata = ()
    ) -> pb.ModelInferResponse:
        """Return the worker's answer. Errors are those of Activator.holdings and of the worker."""
        tried: set[str] = set()
        while True:
            holdings = await self._activator.holdings(
                request.model_name, request.model_version, size_bytes=request.ByteSize()
            )
            addresses = [holding.worker.address for holding in holdings]
            fresh = [address for address in addresses if address not in tried]
            address = self._chance.choice(fresh or addresses)
            tried.add(address)
            try:
                return await self._workers.infer(address, request, timeout_s=timeout_s, metadata=metadata)
            except UnavailableError:
                if len(tried) >= ATTEMPTS_MAX or not fresh:
                    raise

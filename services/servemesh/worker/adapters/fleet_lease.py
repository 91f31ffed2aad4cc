"""The registry's fleet service over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from servemesh.api.fleet.v1 import fleet_pb2 as pb
from servemesh.api.fleet.v1 import fleet_pb2_grpc as pb_grpc
from servemesh.rpc.client import call, channel


class FleetLease:
    """Satisfies leasing.Fleet."""

    def __init__(self, connection: grpc.aio.Channel, *, timeout_s: float) -> None:
        self._stub = pb_grpc.FleetServiceStub(connection)
        self._timeout_s = timeout_s

    @classmethod
    @asynccontextmanager
    async def running(cls, address: str, *, timeout_s: float) -> AsyncIterator[FleetLease]:
        """Keep a channel to the registry for the length of the block; the registry may be away."""
        connection = channel(address)
        try:
            yield cls(connection, timeout_s=timeout_s)
        finally:
            await connection.close()

    async def renew(self, worker: pb.Worker) -> pb.Assignment:
        """Tell how the worker stands and return what it should hold."""
        request = pb.RenewLeaseRequest(worker=worker)
        response: pb.RenewLeaseResponse = await call(
            self._stub.RenewLease, request, timeout_s=self._timeout_s
        )
        return response.assignment

    async def end(self, name: str, incarnation: str) -> None:
        """Give the lease up."""
        request = pb.EndLeaseRequest(name=name, incarnation=incarnation)
        await call(self._stub.EndLease, request, timeout_s=self._timeout_s)

"""The fleet on the wire: message in, one call, message out."""

from __future__ import annotations

from typing import Any

from servemesh import names
from servemesh.api.fleet.v1 import fleet_pb2 as pb
from servemesh.api.fleet.v1 import fleet_pb2_grpc as pb_grpc
from servemesh.registry.api.fleet_messages import from_worker, to_renewal, to_worker
from servemesh.registry.service.demands import Demands
from servemesh.registry.service.leases import Leases
from servemesh.requests import page_of

Context = Any


class FleetApi(pb_grpc.FleetServiceServicer):
    """Leases and demands."""

    def __init__(self, leases: Leases, demands: Demands) -> None:
        self._leases = leases
        self._demands = demands

    def register(self, server: Any) -> None:
        """Add the service to a server."""
        pb_grpc.add_FleetServiceServicer_to_server(self, server)

    async def GetWorker(self, request: pb.GetWorkerRequest, context: Context) -> pb.GetWorkerResponse:
        """Return one Worker."""
        lease = await self._leases.get(names.worker_id(request.name))
        return pb.GetWorkerResponse(worker=to_worker(lease))

    async def ListWorkers(self, request: pb.ListWorkersRequest, context: Context) -> pb.ListWorkersResponse:
        """List Workers that have a lease."""
        page = await self._leases.list(page_of(request))
        return pb.ListWorkersResponse(
            workers=[to_worker(lease) for lease in page.items], next_page_token=page.next_page_token
        )

    async def RenewLease(self, request: pb.RenewLeaseRequest, context: Context) -> pb.RenewLeaseResponse:
        """Note what a worker holds and tell what it should hold."""
        return to_renewal(await self._leases.renew(from_worker(request.worker)))

    async def EndLease(self, request: pb.EndLeaseRequest, context: Context) -> pb.EndLeaseResponse:
        """Let a worker go."""
        await self._leases.end(names.worker_id(request.name), request.incarnation)
        return pb.EndLeaseResponse()

    async def DemandVersion(
        self, request: pb.DemandVersionRequest, context: Context
    ) -> pb.DemandVersionResponse:
        """Have a Version placed that is called."""
        key, workers = await self._demands.demand(request.name)
        return pb.DemandVersionResponse(
            version=names.version(*key), workers=[names.worker(worker) for worker in workers]
        )

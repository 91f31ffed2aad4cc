"""The worker's own API: its slots, and loading one of them."""

from __future__ import annotations

from typing import Any

from servemesh import names
from servemesh.api.worker.v1 import worker_pb2 as pb
from servemesh.api.worker.v1 import worker_pb2_grpc as pb_grpc
from servemesh.errors import InvalidError
from servemesh.worker.service.catalog import Catalog
from servemesh.worker.service.fleet_messages import slot_message

PAGE_SIZE_DEFAULT = 50
PAGE_SIZE_MAX = 1_000


class WorkerApi(pb_grpc.WorkerServiceServicer):
    """Lists slots and loads them."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def ListSlots(self, request: pb.ListSlotsRequest, context: Any) -> pb.ListSlotsResponse:
        size = _page_size(request.page_size)
        slots = sorted(map(slot_message, self._catalog.slots()), key=lambda slot: slot.version)
        # The token is the name that the page before ended with.
        rest = [slot for slot in slots if slot.version > request.page_token]
        token = rest[size - 1].version if len(rest) > size else ""
        return pb.ListSlotsResponse(slots=rest[:size], next_page_token=token)

    async def LoadSlot(self, request: pb.LoadSlotRequest, context: Any) -> pb.LoadSlotResponse:
        model, version_id = names.version_ids(request.version)
        slot = await self._catalog.load(model, str(version_id))
        return pb.LoadSlotResponse(slot=slot_message(slot))

    def register(self, server: Any) -> None:
        """Add the service to a server."""
        pb_grpc.add_WorkerServiceServicer_to_server(self, server)


def _page_size(size: int) -> int:
    if size < 0:
        raise InvalidError(
            f"page_size is {size}, expected 0 to {PAGE_SIZE_MAX}",
            reason="PAGE_SIZE_INVALID",
            field="page_size",
            expected=f"0 to {PAGE_SIZE_MAX}",
            got=size,
        )
    return min(size or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)

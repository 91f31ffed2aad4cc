"""The worker's own API: its slots, loading one of them, and runs for the gateway's streams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

from google.protobuf.message import DecodeError

from servemesh import names
from servemesh.api.oip.v2 import inference_pb2 as oip
from servemesh.api.worker.v1 import worker_pb2 as pb
from servemesh.api.worker.v1 import worker_pb2_grpc as pb_grpc
from servemesh.errors import InvalidError
from servemesh.worker.api.inference import streamed
from servemesh.worker.api.responses import stream_error
from servemesh.worker.service import streaming
from servemesh.worker.service.catalog import Catalog
from servemesh.worker.service.fleet_messages import slot_message
from servemesh.worker.service.inference import Inference

PAGE_SIZE_DEFAULT = 50
PAGE_SIZE_MAX = 1_000
ANSWERS_BYTES_MAX = 1 << 20  # in one message, unless a single answer is larger


class WorkerApi(pb_grpc.WorkerServiceServicer):
    """Lists slots and loads them; runs what the gateway has gathered."""

    def __init__(self, inference: Inference, catalog: Catalog) -> None:
        self._inference = inference
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

    async def InferMany(
        self, request: pb.InferManyRequest, context: Any
    ) -> AsyncIterator[pb.InferManyResponse]:
        async with aclosing(streaming.together(request.requests, self._answered)) as answers:
            async for ready in answers:
                for responses in _in_messages(ready):
                    yield pb.InferManyResponse(responses=responses)

    async def _answered(self, content: bytes) -> bytes:
        try:
            request = oip.ModelInferRequest.FromString(content)
        except DecodeError:
            error = InvalidError("one of the requests is not a ModelInferRequest", reason="MESSAGE_MALFORMED")
            return stream_error(error, "").SerializeToString()
        answer = await streamed(self._inference, request)
        return answer.SerializeToString()

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


def _in_messages(responses: list[bytes]) -> Iterator[list[bytes]]:
    """Share responses out over messages of bounded size."""
    message: list[bytes] = []
    size_bytes = 0
    for response in responses:
        if message and size_bytes + len(response) > ANSWERS_BYTES_MAX:
            yield message
            message, size_bytes = [], 0
        message.append(response)
        size_bytes += len(response)
    yield message

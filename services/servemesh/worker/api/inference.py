"""The calls that run models: unary and streamed."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from functools import partial
from typing import Any

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.errors import InvalidError, ServemeshError
from servemesh.worker.api.responses import response, stream_error, stream_response
from servemesh.worker.service import streaming
from servemesh.worker.service.inference import Inference

MODEL_HEADER = "x-servemesh-model"
SLOT_HEADER = "x-servemesh-slot"
ERRORS_END_STREAM_HEADER = "triton_grpc_error"
# Requests of one stream that are worked on before the answer of the first is sent.
STREAM_AHEAD_MAX = 128
# Streams have no deadline, so each of their requests gets one.
STREAM_REQUEST_TIMEOUT_S = 300.0


class InferenceCalls:
    """Runs models."""

    _inference: Inference

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Any) -> pb.ModelInferResponse:
        pinned = checked_route(request.model_name, context.invocation_metadata())
        answer = await self._inference.infer(request, remaining_s=_remaining_s(context), pinned=pinned)
        return response(answer, request.id)

    async def ModelStreamInfer(
        self, requests: AsyncIterator[pb.ModelInferRequest], context: Any
    ) -> AsyncIterator[pb.ModelStreamInferResponse]:
        metadata = dict(context.invocation_metadata())
        errors_end_stream = metadata.get(ERRORS_END_STREAM_HEADER) == "true"
        answered = partial(streamed, self._inference, errors_end_stream=errors_end_stream)
        async with aclosing(streaming.in_order(requests, answered, STREAM_AHEAD_MAX)) as answers:
            async for answer in answers:
                yield answer


async def streamed(
    inference: Inference, request: pb.ModelInferRequest, *, errors_end_stream: bool = False
) -> pb.ModelStreamInferResponse:
    """Return the answer to one request of a stream, which may be its error."""
    try:
        answer = await inference.infer(
            request, remaining_s=STREAM_REQUEST_TIMEOUT_S, timeout_s=STREAM_REQUEST_TIMEOUT_S
        )
    except ServemeshError as error:
        if errors_end_stream:
            raise
        return stream_error(error, request.id)
    return stream_response(answer, request)


def checked_route(model: str, metadata: Iterable[tuple[str, Any]]) -> str:
    """Return the version id that the edge chose, if it did; InvalidError if it authorised another model."""
    pinned = ""
    for key, value in metadata:
        if key == MODEL_HEADER and value != model:
            raise InvalidError(
                f"model_name is {model[:200]!r}, the edge read {value[:200]!r}: send it once, as the first field",
                reason="EDGE_MISMATCH",
                field="model_name",
                expected=value[:200],
                got=model[:200],
            )
        if key == SLOT_HEADER:
            pinned = value.rpartition("/")[2]
    return pinned


def _remaining_s(context: Any) -> float:
    remaining_s: float | None = context.time_remaining()
    return math.inf if remaining_s is None else remaining_s

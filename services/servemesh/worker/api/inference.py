"""The calls that run models: unary and streamed."""

from __future__ import annotations

from typing import Any

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.api.oip.v2 import inference_pb2_grpc as pb_grpc
from servemesh.errors import InvalidError
from servemesh.worker.api.responses import response
from servemesh.worker.service.inference import Inference

MODEL_HEADER = "x-servemesh-model"
SLOT_HEADER = "x-servemesh-slot"


class InferenceApi(pb_grpc.GRPCInferenceServiceServicer):
    """Runs models."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Any) -> pb.ModelInferResponse:
        pinned = _checked_route(request.model_name, context)
        answer = await self._inference.infer(request, remaining_s=context.time_remaining(), pinned=pinned)
        return response(answer, request.id)


def _checked_route(model: str, context: Any) -> str:
    """Return the version id that the edge chose, if it did; InvalidError if it authorised another model."""
    pinned = ""
    for key, value in context.invocation_metadata():
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


def register(api: InferenceApi, server: Any) -> None:
    """Add the calls of inference to a server."""
    pb_grpc.add_GRPCInferenceServiceServicer_to_server(api, server)

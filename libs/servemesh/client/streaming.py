"""Inference over one stream: the requests under way, and their outcomes in the order of the requests."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from numpy.typing import ArrayLike

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.client import inference
from servemesh.client.inference import Parameter
from servemesh.client.results import InferResult
from servemesh.errors import OverloadedError, ServemeshError, UnavailableError
from servemesh.rpc.limits import MESSAGE_BYTES_MAX
from servemesh.rpc.stream_errors import error_of

METHOD = "/inference.GRPCInferenceService/ModelStreamInfer"
AHEAD_MAX = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InferRequest:
    """One request of a stream, as the arguments of `Client.infer`."""

    model: str
    inputs: Mapping[str, ArrayLike]
    version: str | int = ""
    outputs: Sequence[str] | None = None
    parameters: Mapping[str, Parameter] | None = None


class Window:
    """Holds what is under way, at most `ahead_max` requests, and gives each outcome when its turn has come."""

    def __init__(self, ahead_max: int) -> None:
        self._ahead_max = ahead_max
        self._order: deque[str] = deque()
        self._outcomes: dict[str, InferResult | ServemeshError] = {}

    def __len__(self) -> int:
        return len(self._order)

    def has_room(self) -> bool:
        """Whether one more request may be sent."""
        return len(self._order) < self._ahead_max

    def opened(self, request: InferRequest) -> bytes | None:
        """Return the encoded message to send.

        None if OIP cannot carry the arrays, or they are too large for one message: that is then the outcome.
        """
        try:
            message = inference.request(
                request.model,
                request.inputs,
                version=request.version,
                outputs=request.outputs,
                parameters=request.parameters,
            )
        except ServemeshError as error:
            self._refuse(error)
            return None
        payload: bytes = message.SerializeToString()
        if len(payload) > MESSAGE_BYTES_MAX:  # gRPC would end the whole stream
            self._refuse(_too_large(len(payload)))
            return None
        self._order.append(message.id)
        return payload

    def _refuse(self, error: ServemeshError) -> None:
        self._order.append(unsent := f"unsent-{id(error)}")
        self._outcomes[unsent] = error

    def arrived(self, answer: pb.ModelStreamInferResponse) -> None:
        """Keep the outcome of the request that `answer` names."""
        response = answer.infer_response
        if answer.error_message:
            self._outcomes[response.id] = error_of(answer)
            return
        try:
            self._outcomes[response.id] = inference.result(response)
        except ServemeshError as error:
            self._outcomes[response.id] = error

    def finished(self) -> Iterator[InferResult | ServemeshError]:
        """Give, and forget, the outcomes whose turn has come."""
        while self._order and self._order[0] in self._outcomes:
            yield self._outcomes.pop(self._order.popleft())


def _too_large(size_bytes: int) -> ServemeshError:
    return OverloadedError(
        f"the request is {size_bytes} bytes, at most {MESSAGE_BYTES_MAX} are sent at once",
        reason="MESSAGE_TOO_LARGE",
        retry_after_s=None,
        limit_bytes=MESSAGE_BYTES_MAX,
    )


def ended_early() -> ServemeshError:
    """Return the error of a stream that ended before every request was answered."""
    return UnavailableError("the stream ended before every request was answered", reason="STREAM_ENDED")

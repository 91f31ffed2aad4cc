"""Responses as bytes, put together from parts that are the same for every response of a shape."""

from __future__ import annotations

from collections.abc import Sequence

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.tensors import datatypes, raw
from servemesh.worker.domain.forms import varint
from servemesh.worker.service.execution import Array
from servemesh.worker.service.slots import ReadySlot

HEADS_MAX = 512
_RAW_FIELD = b"\x32"  # raw_output_contents, the last field of a ModelInferResponse: number 6, wire type 2
OutputTensor = pb.ModelInferResponse.InferOutputTensor


class Frames:
    """Makes ModelInferResponse messages; at most `HEADS_MAX` beginnings are kept, more of them start anew."""

    def __init__(self) -> None:
        self._heads: dict[tuple[object, ...], bytes] = {}

    def frame(self, slot: ReadySlot, names: tuple[str, ...], outputs: Sequence[Array]) -> bytes:
        """Return the message that `responses.response` makes for a request without an id, encoded."""
        key = (slot.model, slot.version_id, names, *[(output.dtype, output.shape) for output in outputs])
        head = self._heads.get(key)
        if head is None:
            head = self._learnt(key, slot, names, outputs)
        parts = [head]
        for output in outputs:
            data = raw.encode(output)
            parts += (_RAW_FIELD, varint(len(data)), data)
        return b"".join(parts)

    def _learnt(
        self, key: tuple[object, ...], slot: ReadySlot, names: tuple[str, ...], outputs: Sequence[Array]
    ) -> bytes:
        message = pb.ModelInferResponse(
            model_name=slot.model,
            model_version=str(slot.version_id),
            outputs=[
                OutputTensor(name=name, datatype=datatypes.of_array(output).name, shape=output.shape)
                for name, output in zip(names, outputs, strict=True)
            ],
        )
        if len(self._heads) >= HEADS_MAX:
            self._heads.clear()
        head: bytes = message.SerializeToString()
        self._heads[key] = head
        return head

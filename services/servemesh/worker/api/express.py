"""The express lane of ModelInfer: requests of a form that is known are neither parsed nor given a task."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.errors import ServemeshError
from servemesh.rpc.express import ExpressCall, Metadata
from servemesh.tensors import datatypes
from servemesh.worker.api.frames import Frames
from servemesh.worker.api.inference import checked_route
from servemesh.worker.domain.forms import PREFIX_BYTES_MAX, Form, Forms, Piece, is_plain, raw_heads
from servemesh.worker.service.calls import Call, key_of
from servemesh.worker.service.execution import Array
from servemesh.worker.service.slots import ReadySlot, Slots

METHOD = "/inference.GRPCInferenceService/ModelInfer"


class Recognised(NamedTuple):
    """A request of a known form, taken apart, and the slot that is to answer it."""

    slot: ReadySlot
    form: Form
    inputs: Sequence[Array | None]


class ExpressInfer:
    """Answers ModelInfer for requests that differ from an earlier one in their numbers only."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._forms = Forms()
        self._frames = Frames()

    def recognise(self, payload: bytes, metadata: Metadata) -> Recognised | None:
        """Return the request and its slot; None where the servicer is to see to it, with all that may be wrong."""
        form = self._forms.find(payload)
        if form is None:
            self._missed(payload, metadata)
            return None
        try:
            pinned = checked_route(form.model, metadata)
            slot = self._slots.find(form.model, form.version, pinned)
        except ServemeshError:
            return None
        if slot.signature is not form.signature and slot.signature != form.signature:
            self._missed(payload, metadata)  # another Version answers by now, or for some of the calls
            return None
        if form.rows > slot.batcher.rows_max > 1:
            return None
        inputs = form.inputs(payload)
        return None if inputs is None else Recognised(slot, form, inputs)

    def run(self, call: ExpressCall, recognised: Recognised) -> None:
        """Have the batcher run it; an error of the batcher is the call's answer."""
        slot, form, inputs = recognised
        expires_s = asyncio.get_running_loop().time() + call.remaining_s
        key = form.key if slot.batcher.rows_max > 1 else None
        waiting = _ExpressTicket(call, slot, self._frames, inputs, form, key, expires_s)
        slot.batcher.submit(waiting)
        call.on_left = waiting.leave

    def _missed(self, payload: bytes, metadata: Metadata) -> None:
        if not self._forms.is_worth_learning():
            return
        try:
            request = pb.ModelInferRequest.FromString(payload)
            pinned = checked_route(request.model_name, metadata)
            slot = self._slots.find(request.model_name, request.model_version, pinned)
            form = form_of(payload, request, slot)
        except (DecodeError, ServemeshError):
            return  # the servicer says what is wrong
        if form is not None:
            self._forms.add(form)


def form_of(payload: bytes, request: Any, slot: ReadySlot) -> Form | None:
    """Return the form of a valid request, or None if it has none.

    That is: parameters, an id, text, BOOL, BF16, typed contents, no rows, or much before the tensors.
    """
    raws: Sequence[bytes] = request.raw_input_contents
    if request.id or request.parameters or not raws or not all(raws):
        return None
    if any(output.parameters for output in request.outputs):
        return None
    if not all(is_plain(datatypes.named(tensor.datatype)) for tensor in request.inputs):
        return None
    plan = slot.plan
    arranged = plan.arranged(request.inputs, raws)
    names = plan.wanted(output.name for output in request.outputs)
    heads = raw_heads(raws)
    tail = b"".join(head + raw for head, raw in zip(heads, raws, strict=True))
    start = len(payload) - len(tail)
    if start > PREFIX_BYTES_MAX:
        return None
    if not payload.endswith(tail) or pb.ModelInferRequest.FromString(payload[:start]).raw_input_contents:
        return None
    places = {spec.name: place for place, spec in enumerate(slot.signature.inputs)}
    pieces: list[Piece] = []
    for tensor, head, raw in zip(request.inputs, heads, raws, strict=True):
        start += len(head)
        piece = Piece(
            place=places[tensor.name],
            head=head if pieces else b"",
            start=start,
            end=start + len(raw),
            dtype=datatypes.named(tensor.datatype).dtype,
            shape=tuple(tensor.shape),
        )
        pieces.append(piece)
        start = piece.end
    return Form(
        prefix=payload[: pieces[0].start],
        signature=slot.signature,
        model=request.model_name,
        version=request.model_version,
        pieces=tuple(pieces),
        places=len(slot.signature.inputs),
        rows=arranged.rows,
        size_bytes=sum(map(len, raws)),
        outputs=names,
        key=key_of(arranged.inputs, names),
    )


class _ExpressTicket(Call):
    """A call of the express lane that waits for its run."""

    __slots__ = ("_call", "_frames", "_slot")

    def __init__(
        self,
        call: ExpressCall,
        slot: ReadySlot,
        frames: Frames,
        inputs: Sequence[Array | None],
        form: Form,
        key: Hashable,
        expires_s: float,
    ) -> None:
        super().__init__(
            inputs,
            form.outputs,
            key=key,
            rows=form.rows,
            size_bytes=form.size_bytes,
            priority=0,
            expires_s=expires_s,
            span=call.span,
        )
        self._call = call
        self._slot = slot
        self._frames = frames

    @property
    def is_gone(self) -> bool:
        """Whether the call has its answer, or the client has left."""
        return self._call.is_over

    def succeed(self, outputs: list[Array]) -> None:
        """Send the outputs."""
        try:
            frame = self._frames.frame(self._slot, self.outputs, outputs)
        except Exception as error:  # the fate of this call, not of those that ran with it
            self._call.fail(error)
            return
        self._call.answer(frame)

    def fail(self, error: Exception) -> None:
        """Send the status of an error, unless the call is gone."""
        self._call.fail(error)

    def leave(self) -> None:
        """Wait no more."""
        self._slot.batcher.withdraw(self)

"""Runs one call: finds the slot, holds the tensors against its signature, and waits for the batcher."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from servemesh.errors import ExpiredError, InvalidError
from servemesh.worker.domain.parameters import call_parameters, class_counts
from servemesh.worker.service.classification import best_classes
from servemesh.worker.service.execution import Array
from servemesh.worker.service.slots import ReadySlot, Slots

# Numbers are views of what was received; text is taken apart element by element, and much of it in a thread.
TEXT_BYTES_HERE_MAX = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The outputs of one call, with their names, and the slot that gave them."""

    slot: ReadySlot
    names: tuple[str, ...]
    outputs: Sequence[Array]


class Inference:
    """Inference on the slots of this worker."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots

    async def infer(
        self, request: Any, *, remaining_s: float, timeout_s: float = 0.0, pinned: str = ""
    ) -> Answer:
        """Return what a ModelInferRequest asks for.

        `remaining_s` is until the deadline of the call, whose end cancels this; `timeout_s` bounds the run where
        there is no such deadline. `pinned` is the version id that the edge chose for a call that names none.
        InvalidError if the request does not fit the signature, ExpiredError if the time is over.
        """
        slot = self._slots.find(request.model_name, request.model_version, pinned)
        plan, priority = slot.plan, 0
        counts: dict[str, int] = {}
        arrived_ns = time.perf_counter_ns()
        try:
            if request.parameters:
                parameters = call_parameters(request.parameters)
                priority, timeout_s = parameters.priority, parameters.timeout_s or timeout_s
            if request.outputs:
                names = plan.wanted(output.name for output in request.outputs)
                counts = class_counts(request.outputs)
            else:
                names = plan.all_outputs
            if plan.takes_text and request.ByteSize() > TEXT_BYTES_HERE_MAX:
                arranged = await asyncio.to_thread(plan.arranged, request.inputs, request.raw_input_contents)
            else:
                arranged = plan.arranged(request.inputs, request.raw_input_contents)
        except InvalidError as error:
            slot.statistics.failed(error, time.perf_counter_ns() - arrived_ns)
            raise
        expires_s = asyncio.get_running_loop().time() + remaining_s
        run = _run(slot, arranged.inputs, arranged.rows, names, priority, expires_s)
        outputs = await (_within(timeout_s, run) if timeout_s else run)
        if counts:
            outputs = _classified(slot, names, outputs, counts)
        return Answer(slot=slot, names=names, outputs=outputs)


async def _within(timeout_s: float, run: Coroutine[Any, Any, Sequence[Array]]) -> Sequence[Array]:
    try:
        async with asyncio.timeout(timeout_s):
            return await run
    except TimeoutError as error:
        raise ExpiredError("Request timeout expired", reason="REQUEST_TIMEOUT") from error


async def _run(
    slot: ReadySlot,
    inputs: Sequence[Array | None],
    rows: int,
    names: tuple[str, ...],
    priority: int,
    expires_s: float,
) -> Sequence[Array]:
    batcher = slot.batcher
    rows_max = batcher.rows_max
    if rows <= rows_max or rows_max == 1:
        return await batcher.infer(inputs, rows, outputs=names, expires_s=expires_s, priority=priority)
    # More rows than may run together: one piece after the other, so that other callers get their turn between.
    pieces = []
    for start in range(0, rows, rows_max):
        piece = [None if array is None else array[start : start + rows_max] for array in inputs]
        size = min(rows_max, rows - start)
        pieces.append(await batcher.infer(piece, size, outputs=names, expires_s=expires_s, priority=priority))
    return [np.concatenate(column) for column in zip(*pieces, strict=True)]


def _classified(
    slot: ReadySlot, names: tuple[str, ...], outputs: Sequence[Array], counts: dict[str, int]
) -> Sequence[Array]:
    return [
        best_classes(output, counts[name], name, batchable=slot.signature.batchable)
        if name in counts
        else output
        for name, output in zip(names, outputs, strict=True)
    ]

"""The calls that a batcher holds, and the batches that it makes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Sequence

from opentelemetry.trace import Span

from servemesh.errors import ExpiredError, UnavailableError
from servemesh.worker.domain.batching import Ticket
from servemesh.worker.service.execution import Array, Stop


class Call(Ticket):
    """One call that waits for its answer. `key` tells which calls may run together, None for none."""

    __slots__ = ("arrived_ns", "batch", "inputs", "outputs", "span")

    def __init__(
        self,
        inputs: Sequence[Array | None],
        outputs: tuple[str, ...],
        *,
        key: Hashable,
        rows: int,
        size_bytes: int,
        priority: int,
        expires_s: float,
        span: Span | None,
    ) -> None:
        super().__init__(key=key, rows=rows, size_bytes=size_bytes, priority=priority, expires_s=expires_s)
        self.inputs = inputs
        self.outputs = outputs
        self.span = span  # what records the call, if it is traced
        self.arrived_ns = 0
        self.batch: Batch | None = None

    @property
    def is_gone(self) -> bool:
        """Whether the call has its answer, or the caller has left."""
        raise NotImplementedError

    def succeed(self, outputs: list[Array]) -> None:
        """Answer with the outputs. Only for a call that is not gone."""
        raise NotImplementedError

    def fail(self, error: Exception) -> None:
        """Answer with an error, unless the call is gone."""
        raise NotImplementedError


class AwaitedCall(Call):
    """A call whose caller awaits `future`."""

    __slots__ = ("future",)

    future: asyncio.Future[list[Array]]

    @property
    def is_gone(self) -> bool:
        """Whether the call has its answer, or the caller has left."""
        return self.future.done()

    def succeed(self, outputs: list[Array]) -> None:
        """Answer with the outputs."""
        self.future.set_result(outputs)

    def fail(self, error: Exception) -> None:
        """Answer with an error, unless the call is gone."""
        if not self.future.done():
            self.future.set_exception(error)


class Batch:
    """Calls that run together, of which so many still wait."""

    __slots__ = ("calls", "size_bytes", "stop", "waiting")

    def __init__(self, calls: list[Call]) -> None:
        self.calls = calls
        self.waiting = len(calls)
        self.size_bytes = sum(call.size_bytes for call in calls)
        self.stop = Stop()
        for call in calls:
            call.batch = self


def key_of(inputs: Sequence[Array | None], outputs: tuple[str, ...]) -> Hashable:
    """Return what calls must have in common to run together: the outputs wanted and the shape of a row."""
    return outputs, tuple(None if array is None else array.shape[1:] for array in inputs)


def leaving() -> UnavailableError:
    """Return the error for calls that find the model on its way out."""
    return UnavailableError("the model is leaving this worker; send the call again", reason="MODEL_DRAINING")


def expired() -> ExpiredError:
    """Return the error for calls whose time was over before they could run."""
    return ExpiredError("Request timeout expired before the model could run", reason="QUEUE_TIMEOUT")

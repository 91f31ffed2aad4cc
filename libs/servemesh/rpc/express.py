"""Unary calls that are answered without a task of their own, on the native server only.

A task, its context and the layers around a handler cost more than a tiny call does otherwise. A method with an
express lane shows each call to its handler first, on the event loop, and what that does not recognise goes on to the
servicer of the method. What every call goes through holds here too: limits, counters, spans, and one status
whatever happens.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from opentelemetry.trace import Span, StatusCode
from pygrpc_native import EVENT_CANCEL
from pygrpc_native.aio import Server

from servemesh.errors import OverloadedError, UnavailableError
from servemesh.observe import names, traces
from servemesh.observe.calls import calls_of
from servemesh.rpc import edge
from servemesh.rpc.registration import Layers, check_metadata, within
from servemesh.rpc.statuses import code_of

Metadata = Sequence[tuple[str, str | bytes]]

# How often a stopping server looks whether its answers have left, and how long a socket may take for the last bytes.
FLUSH_POLL_S = 0.005
LINGER_S = 0.1

_log = logging.getLogger(__name__)


class ExpressHandler(Protocol):
    """Answers the calls of one method that it recognises."""

    def recognise(self, payload: bytes, metadata: Metadata) -> Any:
        """Return what `run` needs for this call, or None for one that is to go to the servicer; never raises."""

    def run(self, call: ExpressCall, recognised: Any) -> None:
        """Begin to work on the call, on the event loop, without waiting. An error is its answer."""


class ExpressCall:
    """One call off the wire; whoever works on it answers it once, now or later, on the event loop.

    `on_left` is called if nobody waits for the answer any more.
    """

    __slots__ = (
        "_lane",
        "_number",
        "_started_s",
        "is_over",
        "metadata",
        "on_left",
        "remaining_s",
        "span",
    )

    def __init__(self, lane: Lane, number: int, metadata: Metadata, remaining_s: float) -> None:
        self._lane = lane
        self._number = number
        self.metadata = metadata
        self.remaining_s = remaining_s  # until the deadline of the call, when it began
        self.is_over = False
        self.on_left: Callable[[], None] | None = None
        # What records the call, if it is traced.
        self.span: Span | None = traces.detached_span(lane.method, metadata)
        self._started_s = lane.metrics.started()
        lane.open[number] = self

    def answer(self, payload: bytes) -> None:
        """Answer with an encoded message; nothing happens if the call is over."""
        if self.is_over:
            return
        try:
            within(payload, self._lane.layers.limits)
        except OverloadedError as error:
            self.fail(error)
            return
        self._end(None)
        metadata = edge.LONG if len(payload) > edge.HELD_BYTES_MAX else None
        self._lane.front.respond(self._number, payload, metadata)

    def fail(self, error: BaseException) -> None:
        """Answer with the status of an error; nothing happens if the call is over."""
        if self.is_over:
            return
        status = edge.refusal(error, self.metadata, pushback=self._lane.layers.sends_pushback)
        self._end(error)
        trailers = list(status.trailing_metadata)
        self._lane.front.fail(self._number, status.code.value[0], status.details, trailers)

    def cancel(self) -> None:
        """Answer that the call was interrupted, because the server stops."""
        if not self.is_over:
            on_left = self.on_left
            self.fail(UnavailableError("the call was interrupted here; send it again", reason="INTERRUPTED"))
            if on_left is not None:
                on_left()

    def abandon(self) -> None:
        """Take note that the client has left, or that its deadline has passed."""
        if not self.is_over:
            on_left = self.on_left
            self._end(asyncio.CancelledError())
            if on_left is not None:
                on_left()

    def _end(self, error: BaseException | None) -> None:
        lane = self._lane
        self.is_over = True
        # Whoever worked on the call refers to it: tensors would wait for the garbage collector.
        self.on_left = None
        lane.open.pop(self._number, None)
        lane.layers.calls.leave(self)
        code = None if error is None else code_of(error).name
        lane.metrics.ended(self._started_s, code)
        if self.span is not None:
            if code is not None:
                self.span.set_attribute("rpc.response.status_code", code)
                self.span.set_status(StatusCode.ERROR, type(error).__name__)
            self.span.end()


class Lane:
    """The express lane of one method, and the calls that are under way in it."""

    def __init__(self, method: str, handler: ExpressHandler, layers: Layers) -> None:
        self.method = method
        self.layers = layers
        self.metrics = calls_of(method)
        self.open: dict[int, ExpressCall] = {}
        self.front: Any = None
        self._handler = handler
        self._deadline_s_max = layers.limits.deadline_s_max
        self._payload_bytes_max = layers.limits.message_bytes_max
        self._metadata_bytes_max = layers.limits.metadata_bytes_max

    def take(self, number: int, payload: bytes, metadata: Metadata, remaining_s: float | None) -> bool:
        """Begin to work on a call, if it is recognised; whether it was."""
        if (
            remaining_s is None
            or remaining_s > self._deadline_s_max
            or len(payload) > self._payload_bytes_max
        ):
            return False  # the layers of the servicer impose deadlines and refuse what is too large
        try:
            recognised = self._handler.recognise(payload, metadata)
        except Exception:  # a bug; it must not cost the calls that came with this one their answers
            _log.exception(names.RPC_FAILED)
            return False
        if recognised is None:
            return False
        call = ExpressCall(self, number, metadata, remaining_s)
        try:
            self.layers.calls.enter(call)
            check_metadata(metadata, self._metadata_bytes_max)
            self._handler.run(call, recognised)
        except Exception as error:
            call.fail(error)
        return True

    def abandon(self, number: int) -> bool:
        """Take note that nobody waits for a call any more; whether it is one of this lane."""
        call = self.open.get(number)
        if call is not None:
            call.abandon()
        return call is not None

    def cancel(self) -> None:
        """Answer every call under way that it was interrupted."""
        for call in list(self.open.values()):
            call.cancel()


class ExpressServer(Server):
    """The native server with express lanes for some of its methods, by path."""

    def __init__(self, lanes: Mapping[str, Lane], **options: Any) -> None:
        super().__init__(**options)
        self._front_args["metrics"] = True  # counts the answers that have left; costs nothing that shows
        self._by_path = lanes
        self._lanes: dict[int, Lane] = {}  # by the number of the method

    async def start(self) -> None:
        """Serve; no call is looked at before this returns, so that none misses its lane."""
        await super().start()
        for number, (path, _) in enumerate(self._table):
            lane = self._by_path.get(path)
            if lane is not None:
                lane.front = self._front
                self._lanes[number] = lane

    async def stop(self, grace: float | None) -> None:
        """Answer the calls of the lanes that are still open, which no task of the server stands for, and stop.

        Handlers get `grace` seconds to end and answers to leave: the front closes connections at once, whatever they
        still have to send. It does not count what it forwards to the fallback: that has LINGER_S.
        """
        for lane in self._lanes.values():
            lane.cancel()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    if self._fallback is not None:
                        await self._fallback.stop(grace)
                    while self._calls or self._has_unsent():  # noqa: ASYNC110 - the front counts, and tells nobody
                        await asyncio.sleep(FLUSH_POLL_S)
            await asyncio.sleep(LINGER_S)
        finally:
            await super().stop(None)

    def _has_unsent(self) -> bool:
        front: Any = self._front
        counts = front.metrics()["methods"].values()
        ended = sum(status["count"] for method in counts for status in method["status"].values())
        return sum(method["started"] for method in counts) > ended

    def _on_events(self, events: list[tuple[Any, ...]]) -> None:
        others = [event for event in events if not self._is_taken(*event)]
        if others:
            super()._on_events(others)

    def _is_taken(
        self, kind: int, number: int, method: int, payload: bytes, _: Any, details: tuple[Any, ...]
    ) -> bool:
        if kind == EVENT_CANCEL:
            return any(lane.abandon(number) for lane in self._lanes.values())
        lane = self._lanes.get(method)
        if lane is None or self._stopping:
            return False
        metadata, _, remaining_s = details
        return lane.take(number, payload, metadata, remaining_s)

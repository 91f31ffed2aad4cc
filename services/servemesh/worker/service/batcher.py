"""Puts calls together while the model runs, and hands each caller its own rows back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from servemesh.errors import ExpiredError, UnavailableError
from servemesh.worker.domain.batching import BatchPolicy, Ticket, WaitingRoom
from servemesh.worker.domain.signature import Signature
from servemesh.worker.service.execution import Array, Outcome, Runtime, Stop, execute
from servemesh.worker.service.statistics import Statistics


class Call(Ticket):
    """One call that waits for its answer."""

    __slots__ = ("arrived_ns", "batch", "future", "inputs", "outputs")

    future: asyncio.Future[list[Array]]
    inputs: Sequence[Array | None]
    outputs: tuple[str, ...]
    arrived_ns: int
    batch: Batch | None

    @property
    def is_gone(self) -> bool:
        """Whether the caller has left."""
        return self.future.done()


class Batch:
    """Calls that run together."""

    __slots__ = ("abandoned_s", "calls", "stop", "waiting")

    def __init__(self, calls: list[Call]) -> None:
        self.calls = calls
        self.waiting = len(calls)
        self.stop = Stop()
        self.abandoned_s: float | None = None


class Batcher:
    """Runs the calls of one slot. Enter it on the event loop of its callers.

    Batches form by themselves while the model runs. A caller who leaves costs its batch-mates nothing; when all
    callers of a batch have left, the run is stopped. If a batch fails, each call is run alone, so that one bad
    row fails one call.
    """

    def __init__(
        self, runtime: Runtime, signature: Signature, policy: BatchPolicy, statistics: Statistics
    ) -> None:
        self._runtime = runtime
        self._names = tuple(spec.name for spec in signature.inputs)
        self._policy = policy
        self._statistics = statistics
        self._rows_max = policy.rows_max if signature.batchable else 1
        self._room: WaitingRoom[Call] = WaitingRoom(policy)
        self._running: set[Batch] = set()
        self._is_woken = False
        self._linger: asyncio.TimerHandle | None = None
        self._is_open = False

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._idle = asyncio.Event()
        self._idle.set()
        self._pool = ThreadPoolExecutor(self._policy.executions, thread_name_prefix="batch")
        self._is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        for call in self._room.clear():
            _fail(call, _leaving())
        for batch in self._running:
            batch.stop.stop()
            for call in batch.calls:
                _fail(call, _leaving())
        self._pool.shutdown(wait=False)

    @property
    def rows_max(self) -> int:
        """Most rows of one call; 1 where calls are run whole, one at a time."""
        return self._rows_max

    @property
    def is_open(self) -> bool:
        """Whether new calls are taken."""
        return self._is_open

    @property
    def is_idle(self) -> bool:
        """Whether no call waits and none is run."""
        return not self._running and not self._room.rows

    @property
    def waiting_rows(self) -> int:
        """Rows that wait for a run."""
        return self._room.rows

    def abandoned_s(self, now_s: float) -> float:
        """For how long a run has gone on that nobody waits for: a kernel that does not heed the stop."""
        since = [batch.abandoned_s for batch in self._running if batch.abandoned_s is not None]
        return now_s - min(since) if since else 0.0

    async def drain(self) -> None:
        """Refuse new calls and return when the last one has its answer."""
        self._is_open = False
        await self._idle.wait()

    async def infer(
        self,
        inputs: Sequence[Array | None],
        rows: int,
        *,
        outputs: tuple[str, ...],
        expires_s: float,
        priority: int = 0,
    ) -> list[Array]:
        """Return the outputs for these inputs, which are in the order of the signature and fit it.

        `expires_s` is on the event loop's clock. ExpiredError if the run has not begun by then, OverloadedError
        if too much waits already, UnavailableError once the batcher drains.
        """
        if not self._is_open:
            raise _leaving()
        call = Call(
            key=_key(inputs, outputs) if self._rows_max > 1 else None,
            rows=rows,
            size_bytes=sum(array.nbytes for array in inputs if array is not None),
            priority=priority,
            expires_s=expires_s,
        )
        call.inputs, call.outputs, call.batch = inputs, outputs, None
        call.arrived_ns = time.perf_counter_ns()
        call.future = self._loop.create_future()
        self._room.add(call)
        self._idle.clear()
        self._wake()
        try:
            return await call.future
        finally:
            if call.future.cancelled():
                self._leave(call)

    def _wake(self) -> None:
        """Start batches in this turn of the loop's end, so that calls that came together run together."""
        is_full = self._room.rows >= self._rows_max
        if self._running:
            if len(self._running) == self._policy.executions:
                return  # the end of a run starts the next one
        elif self._policy.linger_s > 0 and not is_full:
            if self._linger is None:
                self._linger = self._loop.call_later(self._policy.linger_s, self._start_batches)
            return
        if not self._is_woken:
            self._is_woken = True
            self._loop.call_soon(self._start_batches)

    def _start_batches(self) -> None:
        self._is_woken = False
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        while self._room.rows and len(self._running) < self._policy.executions:
            calls, expired = self._room.take(self._loop.time(), self._rows_max)
            for call in expired:
                self._statistics.fail.add(time.perf_counter_ns() - call.arrived_ns)
                _fail(call, _expired())
            if calls:
                self._start(calls)
        if self.is_idle:
            self._idle.set()

    def _start(self, calls: list[Call]) -> None:
        batch = Batch(calls)
        for call in calls:
            call.batch = batch
        self._running.add(batch)
        started_ns = time.perf_counter_ns()
        self._statistics.queue.add(sum(started_ns - call.arrived_ns for call in calls), len(calls))
        run = self._pool.submit(execute, self._runtime, self._names, calls, batch.stop)
        run.add_done_callback(lambda run: self._loop.call_soon_threadsafe(self._finish, batch, run.result()))

    def _finish(self, batch: Batch, outcome: Outcome) -> None:
        self._running.discard(batch)
        if outcome.rows_differ:
            self._rows_max = 1
        now_ns = time.perf_counter_ns()
        served_ns = served = rows = 0
        for call, answer in zip(batch.calls, outcome.answers, strict=True):
            if call.future.done():
                continue
            if isinstance(answer, Exception):
                self._statistics.fail.add(now_ns - call.arrived_ns)
                call.future.set_exception(answer)
            else:
                served_ns += now_ns - call.arrived_ns
                served += 1
                rows += call.rows
                call.future.set_result(answer)
        if served:
            now_ms = time.time_ns() // 1_000_000
            self._statistics.batch_ran(outcome, rows=rows, calls=served, calls_ns=served_ns, now_ms=now_ms)
        self._start_batches()

    def _leave(self, call: Call) -> None:
        batch = call.batch
        if batch is None:
            self._room.remove(call)
            return
        batch.waiting -= 1
        if batch.waiting == 0 and batch in self._running:
            batch.abandoned_s = self._loop.time()
            batch.stop.stop()


def _key(inputs: Sequence[Array | None], outputs: tuple[str, ...]) -> Hashable:
    return outputs, tuple(None if array is None else array.shape[1:] for array in inputs)


def _fail(call: Call, error: Exception) -> None:
    if not call.future.done():
        call.future.set_exception(error)


def _leaving() -> UnavailableError:
    return UnavailableError("the model is leaving this worker; send the call again", reason="MODEL_DRAINING")


def _expired() -> ExpiredError:
    return ExpiredError("Request timeout expired before the model could run", reason="QUEUE_TIMEOUT")

"""Puts calls together while the model runs, and hands each caller its own rows back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Self

from servemesh.errors import OverloadedError
from servemesh.observe import traces
from servemesh.worker.domain.batching import BatchPolicy, WaitingRoom, displaced
from servemesh.worker.domain.pace import Pace
from servemesh.worker.domain.signature import Signature
from servemesh.worker.service import batch_spans
from servemesh.worker.service.batch_metrics import BatchMetrics
from servemesh.worker.service.calls import AwaitedCall, Batch, Call, expired, key_of, leaving
from servemesh.worker.service.execution import Array, Outcome, Runtime, execute
from servemesh.worker.service.guard import Guard
from servemesh.worker.service.statistics import Statistics

CLOSE_TIMEOUT_S = 1.0
Pools = Callable[[int], Executor]


def threads(executions: int) -> Executor:
    """Return so many threads for the runs of one slot."""
    return ThreadPoolExecutor(executions, thread_name_prefix="batch")


class Batcher:
    """Runs the calls of one slot. Enter it on the event loop of its callers.

    Batches form by themselves while the model runs. A caller who leaves costs its batch-mates nothing; when all
    callers of a batch have left, the run is stopped. If a batch fails, each call is run alone, so that one bad
    row fails one call.

    Runs go to threads. With a guard, runs that are known to be tiny are made on the event loop instead, where
    they cost less than the way to a thread and back; one that the guard has to stop is run again in a thread,
    and its model has to show anew that its runs are tiny.
    """

    def __init__(
        self,
        runtime: Runtime,
        signature: Signature,
        policy: BatchPolicy,
        statistics: Statistics,
        guard: Guard | None = None,
        metrics: BatchMetrics | None = None,
        pools: Pools = threads,
    ) -> None:
        self._runtime = runtime
        self._names = tuple(spec.name for spec in signature.inputs)
        self._policy = policy
        self._statistics = statistics
        self._guard = guard
        self._metrics = metrics
        self._pools = pools
        self._pace = Pace(policy.inline_s_max)
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
        self._pool = self._pools(self._policy.executions)
        self._is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abandon()
        # A kernel that does not heed the stop is left behind in its thread.
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._idle.wait()
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

    @property
    def waiting_calls(self) -> int:
        """Calls that wait for a run. About right for another thread, too."""
        return self._room.calls

    def abandon(self) -> None:
        """Refuse every call, those that wait and those under way too: other workers may answer them."""
        self._is_open = False
        for call in self._room.clear():
            call.fail(leaving())
        for batch in self._running:
            batch.stop.stop()
            for call in batch.calls:
                call.fail(leaving())
        self._note_idle()

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
        if too much waits already or calls of higher priority need the room, UnavailableError once the batcher drains.
        """
        call = AwaitedCall(
            inputs,
            outputs,
            key=key_of(inputs, outputs) if self._rows_max > 1 else None,
            rows=rows,
            size_bytes=sum(array.nbytes for array in inputs if array is not None),
            priority=priority,
            expires_s=expires_s,
            span=traces.recorded(),
        )
        call.future = self._loop.create_future()
        self.submit(call)
        try:
            return await call.future
        finally:
            if call.future.cancelled():
                self.withdraw(call)

    def submit(self, call: Call) -> None:
        """Take a call, which is told its answer on the event loop; raises what `infer` does, but ExpiredError."""
        if not self._is_open:
            raise leaving()
        call.arrived_ns = time.perf_counter_ns()
        try:
            making_room = self._room.add(call)
        except OverloadedError:
            self._statistics.fail.add(0)
            raise
        for other in making_room:
            self._statistics.fail.add(call.arrived_ns - other.arrived_ns)
            other.fail(displaced())
        self._idle.clear()
        self._wake()

    def withdraw(self, call: Call) -> None:
        """Forget a call whose caller has left."""
        batch = call.batch
        if batch is None:
            self._room.remove(call)
            self._note_idle()
            return
        batch.waiting -= 1
        if batch.waiting == 0 and batch in self._running:
            batch.stop.stop()

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
            calls, late = self._room.take(self._loop.time(), self._rows_max)
            for call in late:
                self._statistics.fail.add(time.perf_counter_ns() - call.arrived_ns)
                call.fail(expired())
            if calls:
                self._start(Batch(calls))
        self._note_idle()

    def _note_idle(self) -> None:
        if self.is_idle:
            self._idle.set()

    def _start(self, batch: Batch) -> None:
        started_ns = time.perf_counter_ns()
        queue_ns = sum(started_ns - call.arrived_ns for call in batch.calls)
        self._statistics.queue.add(queue_ns, len(batch.calls))
        if self._guard is not None and self._pace.is_tiny(batch.size_bytes):
            self._run_here(batch, self._guard)
        else:
            self._run_in_thread(batch)

    def _run_here(self, batch: Batch, guard: Guard) -> None:
        guard.begin(batch.stop)
        outcome = execute(self._runtime, self._names, batch.calls, batch.stop)
        guard.end()
        if batch.stop.stopped:  # by the guard: no caller could leave meanwhile
            self._pace.stopped()
            self._run_in_thread(Batch(batch.calls))
            return
        self._pace.ran_here(batch.size_bytes, outcome.duration_s)
        self._answer(batch, outcome)

    def _run_in_thread(self, batch: Batch) -> None:
        self._running.add(batch)
        run = self._pool.submit(execute, self._runtime, self._names, batch.calls, batch.stop)
        run.add_done_callback(lambda run: self._loop.call_soon_threadsafe(self._finish, batch, run.result()))

    def _finish(self, batch: Batch, outcome: Outcome) -> None:
        self._running.discard(batch)
        if outcome.infer_ns:
            self._pace.ran(batch.size_bytes, outcome.duration_s)
        self._answer(batch, outcome)
        self._start_batches()

    def _answer(self, batch: Batch, outcome: Outcome) -> None:
        if outcome.rows_differ:
            self._rows_max = 1
        now_ns = time.perf_counter_ns()
        served_ns = served = rows = 0
        statistics = self._statistics
        answered = statistics.durations.observe
        for call, answer in zip(batch.calls, outcome.answers, strict=True):
            call.batch = None  # it refers to its calls: tensors would wait for the garbage collector
            if call.is_gone:
                continue
            if isinstance(answer, Exception):
                statistics.failed(answer, now_ns - call.arrived_ns)
                call.fail(answer)
            else:
                call_ns = now_ns - call.arrived_ns
                answered(call_ns)
                served_ns += call_ns
                served += 1
                rows += call.rows
                call.succeed(answer)
        if served:
            now_ms = time.time_ns() // 1_000_000
            statistics.batch_ran(outcome, rows=rows, calls=served, calls_ns=served_ns, now_ms=now_ms)
        if self._metrics is not None:
            self._metrics.ran(outcome, rows=rows)
        if traces.is_recording():
            labels = self._metrics.labels if self._metrics is not None else {}
            batch_spans.record(batch, outcome, rows=rows, labels=labels)

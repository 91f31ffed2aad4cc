"""Histories of a worker's batcher: whatever comes, each call gets one outcome, and its own rows."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from servemesh.errors import ExpiredError, InvalidError, OverloadedError, ServemeshError, UnavailableError
from servemesh.worker.domain.batching import PRIORITY_DEFAULT, BatchPolicy
from servemesh.worker.domain.signature import Signature, TensorSpec
from servemesh.worker.service.batcher import Batcher
from servemesh.worker.service.execution import Array, Stop, StoppedError
from servemesh.worker.service.statistics import Statistics
from tests.harness.simulated_guard import ChanceGuard
from tests.harness.simulation import History, VirtualLoop, VirtualPool, explore

HISTORIES = 3_500
CALLS_MAX = 40
SPAN_S = 0.2
ROW_BYTES = 4


@dataclass(slots=True, kw_only=True, eq=False)
class Caller:
    """One call as its caller knows it. `number` is the value in each of its rows."""

    number: int
    rows: int
    width: int
    rank: int
    expires_s: float
    is_bad: bool
    waits: bool = False
    has_started: bool = False
    arrived_s: float = 0.0
    outcomes: list[object] = field(default_factory=list)

    @property
    def key(self) -> tuple[int, int]:
        return self.rank, self.width

    @property
    def places(self) -> int:
        return max(1, self.rows)

    @property
    def size_bytes(self) -> int:
        return self.rows * self.width * ROW_BYTES


class Watch:
    """Knows every call, and checks what begins to run against what waits."""

    def __init__(self, history: History, policy: BatchPolicy, loop: VirtualLoop) -> None:
        self.history = history
        self.policy = policy
        self.loop = loop
        self.callers: list[Caller] = []
        self.running = 0
        self.rows_max = policy.rows_max
        self.is_leaving = False

    def waiting(self) -> list[Caller]:
        return [caller for caller in self.callers if caller.waits]

    def begins(self, numbers: Sequence[int]) -> None:
        """Calls leave the queue to run together."""
        now_s = self.loop.time()
        batch = [self.callers[number] for number in numbers]
        self.history.tell("runs", *numbers)
        assert len(set(numbers)) == len(numbers), "a call twice in one batch"
        for caller in batch:
            assert caller.waits, f"{caller.number} runs and does not wait"
            assert caller.expires_s > now_s, f"{caller.number} runs after its time"
        assert len(batch) == 1 or sum(caller.places for caller in batch) <= self.rows_max, "too many rows"
        assert len({caller.width for caller in batch}) == 1, "rows of different shapes"
        alive = [
            caller
            for caller in self.waiting()
            if caller.expires_s > now_s and (caller in batch or not self._may_be_displaced(caller))
        ]
        first = min(alive, key=lambda caller: (caller.rank, caller.number))
        assert first in batch, f"{first.number} came first, {numbers} run"
        for caller in batch:
            passed = [other for other in alive if other.key == caller.key and other.number < caller.number]
            assert all(other in batch for other in passed), f"{caller.number} overtakes"
            caller.waits, caller.has_started = False, True

    def _may_be_displaced(self, caller: Caller) -> bool:
        """Whether one of higher priority has come in this very moment: the caller may not know of its fate yet."""
        later = self.callers[caller.number + 1 :]
        return any(other.rank < caller.rank and other.arrived_s == self.loop.time() for other in later)

    def bounds(self, batcher: Batcher) -> None:
        """Nothing is over its bound. A caller that was refused in this very moment may not know it yet."""
        waiting = self.waiting()
        assert batcher.waiting_rows <= sum(caller.places for caller in waiting), "rows are miscounted"
        assert batcher.waiting_calls <= len(waiting), "calls are miscounted"
        assert batcher.waiting_rows <= self.policy.queue_rows_max
        assert self.running <= self.policy.executions

    def is_full_for(self, caller: Caller) -> bool:
        waiting = self.waiting()
        rows = sum(other.places for other in waiting) + caller.places
        size_bytes = sum(other.size_bytes for other in waiting) + caller.size_bytes
        return rows > self.policy.queue_rows_max or size_bytes > self.policy.queue_bytes_max


class EchoRuntime:
    """Gives its rows back doubled; refuses bad values; may be of the kind that mixes rows up."""

    def __init__(self, watch: Watch, *, loses_rows: bool) -> None:
        self._watch = watch
        self._loses_rows = loses_rows

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str], stop: Stop) -> list[Array]:
        array = inputs["x"]
        if stop.stopped:
            raise StoppedError("stopped")
        numbers = list(dict.fromkeys(int(number) for number in array[:, 0]))
        if not any(self._watch.callers[number].has_started for number in numbers):  # on the event loop
            self._watch.begins(numbers)
        if any(self._watch.callers[number].is_bad for number in numbers):
            raise InvalidError("bad value", field="x")
        if self._loses_rows and len(numbers) > 1:
            return [array[:1] * 2]
        return [array * 2]


class WatchedPool(VirtualPool):
    """Threads that tell what they are given to run."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch.loop, watch.history.chance)
        self._watch = watch

    def submit(self, function: Any, /, *args: Any, **options: Any) -> Future[Any]:
        watch, calls = self._watch, args[2]
        fresh = [_number(call) for call in calls if not watch.callers[_number(call)].has_started]
        if fresh:
            watch.begins([_number(call) for call in calls])
        watch.running += 1
        future = super().submit(function, *args, **options)
        future.add_done_callback(lambda _: self._ended())
        return future

    def _ended(self) -> None:
        self._watch.running -= 1


def _number(call: Any) -> int:
    return int(call.inputs[0].flat[0])


def _policy(history: History) -> BatchPolicy:
    chance = history.chance
    return BatchPolicy(
        inline_s_max=chance.choice([0.0, math.inf]),
        rows_max=chance.choice([1, 2, 4, 8]),
        linger_s=chance.choice([0.0, 0.0, 0.01]),
        queue_rows_max=chance.choice([4, 10, 100]),
        queue_bytes_max=chance.choice([40, 400, 4_000]),
        executions=chance.choice([1, 1, 2]),
    )


def _caller(history: History, number: int, rows_max: int) -> Caller:
    chance = history.chance
    expires_s = chance.choice([1e9, 1e9, chance.random() * SPAN_S])
    priority = chance.choice([0, 0, 0, 1, 12])
    return Caller(
        number=number,
        rows=chance.randint(1, rows_max) if rows_max > 1 else chance.randint(1, 5),
        width=chance.choice([1, 1, 2]),
        rank=priority or PRIORITY_DEFAULT,
        expires_s=expires_s,
        is_bad=history.happens(0.05),
    )


async def _call(watch: Watch, batcher: Batcher, caller: Caller) -> None:
    array = np.full((caller.rows, caller.width), caller.number, np.float32)
    caller.waits, caller.arrived_s = not watch.is_leaving, watch.loop.time()
    watch.history.tell("arrives", caller.number, "rows", caller.rows, "rank", caller.rank)
    try:
        (answer,) = await batcher.infer(
            [array], caller.rows, outputs=("y",), expires_s=caller.expires_s, priority=caller.rank
        )
    except asyncio.CancelledError:
        caller.outcomes.append("left")
        raise
    except ServemeshError as error:
        caller.outcomes.append(error)
        _check_refusal(watch, caller, error)
    else:
        caller.outcomes.append(answer)
        assert not caller.is_bad, "a bad value was answered"
        assert caller.has_started, "answered without a run"
        assert np.array_equal(answer, array * 2), f"{caller.number} got other rows"
    finally:
        caller.waits = False
        watch.bounds(batcher)


def _check_refusal(watch: Watch, caller: Caller, error: ServemeshError) -> None:
    watch.history.tell("refused", caller.number, error.reason)
    started = caller.has_started
    caller.waits = False
    match error:
        case InvalidError():
            assert caller.is_bad, "another call's fault"
        case ExpiredError():
            assert not started, "expired while it ran"
            assert caller.expires_s <= watch.loop.time(), "expired too early"
        case OverloadedError(reason="DISPLACED"):
            assert not started, "displaced while it ran"
            assert any(other.rank < caller.rank for other in watch.callers[caller.number + 1 :]), "by nobody"
        case OverloadedError():
            assert watch.is_full_for(caller), "refused although there was room"
        case UnavailableError():
            assert watch.is_leaving, "leaving, and nobody said so"
        case _:
            raise AssertionError(f"{caller.number}: {error!r}")


async def batching(history: History) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    policy = _policy(history)
    is_batchable = history.happens(0.8)
    watch = Watch(history, policy, loop)
    if not is_batchable:
        watch.rows_max = 1
    spec = TensorSpec(name="x", datatype="FP32", shape=(-1, -1))
    runtime = EchoRuntime(watch, loses_rows=history.happens(0.1))

    def pools(executions: int) -> Executor:
        return WatchedPool(watch)

    batcher = Batcher(
        runtime,
        Signature(inputs=(spec,), outputs=(spec,), batchable=is_batchable),
        policy,
        Statistics(),
        ChanceGuard(history),
        pools=pools,
    )
    async with batcher:
        tasks = await _arrivals(watch, batcher)
        watch.is_leaving = True
        if history.happens(0.7):
            history.tell("drains")
            await batcher.drain()
            assert batcher.is_idle
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()
    watch.bounds(batcher)
    assert batcher.is_idle
    assert not batcher.waiting_calls
    assert all(len(caller.outcomes) == 1 for caller in watch.callers), "not one outcome each"


async def _arrivals(watch: Watch, batcher: Batcher) -> list[asyncio.Task[None]]:
    history, chance = watch.history, watch.history.chance
    tasks: list[asyncio.Task[None]] = []
    pause_s = chance.choice([0.0, 0.002, 0.01])
    for number in range(chance.choice([3, 10, CALLS_MAX])):
        caller = _caller(history, number, batcher.rows_max)
        watch.callers.append(caller)
        tasks.append(watch.loop.create_task(_call(watch, batcher, caller)))
        if history.happens(0.1):
            leaver = chance.choice(tasks)
            watch.loop.call_later(chance.random() * 0.02, leaver.cancel)
        if history.happens(0.6):
            await asyncio.sleep(chance.random() * pause_s)
            watch.bounds(batcher)
    return tasks


@pytest.mark.timeout(420)
def test_every_call_has_one_outcome_and_its_own_rows() -> None:
    explore(batching, histories=HISTORIES)

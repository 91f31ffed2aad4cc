"""Tiny runs are made on the event loop, and one that is not tiny after all is stopped and made elsewhere."""

from __future__ import annotations

import asyncio
import math
import threading

import numpy as np

from servemesh.worker.domain.batching import BatchPolicy
from servemesh.worker.domain.pace import SAMPLES, STOPS_MAX, Pace
from servemesh.worker.domain.signature import Signature, TensorSpec
from servemesh.worker.service.batcher import Batcher
from servemesh.worker.service.execution import Stop, StoppedError
from servemesh.worker.service.guard import Guard
from servemesh.worker.service.statistics import Statistics
from tests.harness.runtimes import STEP_TIMEOUT_S, MemoryRuntime

X = TensorSpec(name="x", datatype="FP32", shape=(-1,))
Y = TensorSpec(name="y", datatype="FP32", shape=(-1,))
ROWS = Signature(inputs=(X,), outputs=(Y,), batchable=True)
SLOW_VALUE = 5.0
ALWAYS_TINY = BatchPolicy(inline_s_max=1.0)


class WhereRuntime(MemoryRuntime):
    """Notes on which thread each run is made. On the event loop's thread, SLOW_VALUE takes until it is stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.loop_thread = threading.get_ident()
        self.here: list[bool] = []

    def run(self, inputs, outputs, stop):  # type: ignore[no-untyped-def]
        self.here.append(threading.get_ident() == self.loop_thread)
        if self.here[-1] and (inputs["x"] == SLOW_VALUE).any():
            stopped = threading.Event()
            stop.on_stop(stopped.set)
            assert stopped.wait(STEP_TIMEOUT_S)
            raise StoppedError("the run was stopped")
        return super().run(inputs, outputs, stop)


async def infer(batcher: Batcher, value: float) -> float:
    array = np.array([value], np.float32)
    (output,) = await batcher.infer([array], 1, outputs=("y",), expires_s=math.inf)
    return float(output[0])


def taught(pace: Pace, duration_s: float, runs: int = SAMPLES) -> Pace:
    for _ in range(runs):
        pace.ran(100, duration_s)
    return pace


async def test_runs_move_to_the_event_loop_once_they_are_known_to_be_tiny() -> None:
    runtime = WhereRuntime()
    with Guard.running() as guard:
        async with Batcher(runtime, ROWS, ALWAYS_TINY, Statistics(), guard) as batcher:
            for value in range(SAMPLES + 2):
                if value != SLOW_VALUE:
                    assert await infer(batcher, value) == 2 * value
            assert await infer(batcher, 1) == 2
    assert runtime.here == [False] * SAMPLES + [True] * 2


async def test_a_run_that_holds_the_loop_up_is_stopped_and_made_in_a_thread() -> None:
    runtime = WhereRuntime()
    with Guard.running() as guard:
        async with asyncio.timeout(20), Batcher(runtime, ROWS, ALWAYS_TINY, Statistics(), guard) as batcher:
            for _ in range(SAMPLES):
                await infer(batcher, 1)
            assert await infer(batcher, SLOW_VALUE) == 2 * SLOW_VALUE
            assert await infer(batcher, 1) == 2
    assert runtime.here[SAMPLES:] == [True, False, False]


async def test_without_a_guard_every_run_goes_to_a_thread() -> None:
    runtime = WhereRuntime()
    async with Batcher(runtime, ROWS, ALWAYS_TINY, Statistics()) as batcher:
        for _ in range(SAMPLES + 1):
            await infer(batcher, 1)
    assert not any(runtime.here)


def test_the_guard_leaves_runs_alone_that_end_in_time() -> None:
    with Guard.running(held_up_s=0.001) as guard:
        stops = [Stop() for _ in range(200)]
        for stop in stops:
            guard.begin(stop)
            guard.end()
    assert not any(stop.stopped for stop in stops)


def test_nothing_is_tiny_before_enough_runs_were_seen() -> None:
    assert not taught(Pace(0.001), 0.0001, SAMPLES - 1).is_tiny(100)
    assert taught(Pace(0.001), 0.0001).is_tiny(100)
    assert not taught(Pace(0.001), 0.002).is_tiny(100)
    assert not taught(Pace(0), 0.0001).is_tiny(100)


def test_larger_inputs_are_expected_to_take_longer() -> None:
    pace = taught(Pace(0.001), 0.0005)
    assert pace.is_tiny(200)
    assert not pace.is_tiny(201)
    assert pace.is_tiny(1)


def test_a_few_slow_looking_runs_do_not_make_a_tiny_model_slow() -> None:
    pace = taught(Pace(0.001), 0.0001)
    assert taught(pace, 0.05, SAMPLES - 4).is_tiny(100)
    assert not taught(pace, 0.05, 1).is_tiny(100)


def test_a_surprise_or_a_stop_makes_it_learn_anew_and_three_stops_are_enough() -> None:
    pace = taught(Pace(0.001), 0.0001)
    pace.ran_here(100, 0.01)
    assert not pace.is_tiny(100)
    for _ in range(STOPS_MAX):
        assert taught(pace, 0.0001).is_tiny(100)
        pace.stopped()
    assert not taught(pace, 0.0001).is_tiny(100)

"""The batcher: calls run together while the model is busy, and no caller's fate is another's."""

from __future__ import annotations

import asyncio
import gc
import math
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from servemesh.errors import ExpiredError, InvalidError, OverloadedError, ServemeshError, UnavailableError
from servemesh.worker.domain.batching import BatchPolicy
from servemesh.worker.domain.signature import Signature, TensorSpec
from servemesh.worker.service.batcher import Batcher
from servemesh.worker.service.execution import Array
from servemesh.worker.service.statistics import Statistics
from tests.harness.runtimes import BAD_VALUE, CRASH_VALUE, MemoryRuntime, SteppedRuntime
from tests.harness.waiting import eventually

X = TensorSpec(name="x", datatype="FP32", shape=(-1,))
Y = TensorSpec(name="y", datatype="FP32", shape=(-1,))
ROWS = Signature(inputs=(X,), outputs=(Y,), batchable=True)
WHOLE = Signature(inputs=(X,), outputs=(Y,), batchable=False)


@asynccontextmanager
async def batching(
    runtime: MemoryRuntime, signature: Signature = ROWS, **policy: float
) -> AsyncIterator[Batcher]:
    chosen = BatchPolicy(**policy)  # type: ignore[arg-type]
    async with asyncio.timeout(20), Batcher(runtime, signature, chosen, Statistics()) as batcher:
        yield batcher


async def infer(batcher: Batcher, *values: float, expires_s: float = math.inf) -> list[float]:
    array: Array = np.array(values, np.float32)
    (output,) = await batcher.infer([array], len(values), outputs=("y",), expires_s=expires_s)
    return list(output)


async def started(runtime: SteppedRuntime, runs: int = 1) -> None:
    for _ in range(runs):
        await asyncio.to_thread(runtime.started.acquire)


async def waiting(batcher: Batcher, rows: int) -> None:
    await eventually(lambda: batcher.waiting_rows == rows)


async def test_each_caller_gets_its_own_rows_back() -> None:
    runtime = MemoryRuntime()
    async with batching(runtime) as batcher, asyncio.TaskGroup() as callers:
        tasks = [callers.create_task(infer(batcher, *range(n, n + n % 4))) for n in range(20)]
    assert [task.result() for task in tasks] == [
        [2.0 * value for value in range(n, n + n % 4)] for n in range(20)
    ]
    assert len(runtime.batches) < 20


async def test_a_batch_forms_while_the_model_runs() -> None:
    runtime = SteppedRuntime()
    async with batching(runtime) as batcher, asyncio.TaskGroup() as callers:
        callers.create_task(infer(batcher, 1))
        await started(runtime)
        for value in range(5):
            callers.create_task(infer(batcher, value))
        await waiting(batcher, 5)
        runtime.go(2)
    assert runtime.batches == [1, 5]


async def test_a_caller_who_leaves_does_not_strand_its_batch_mates() -> None:
    runtime = SteppedRuntime()
    async with batching(runtime) as batcher, asyncio.TaskGroup() as callers:
        stays, leaves, also_stays = (callers.create_task(infer(batcher, value)) for value in (1, 2, 3))
        await started(runtime)
        leaves.cancel()
        runtime.go()
    assert (stays.result(), also_stays.result()) == ([2], [6])
    assert runtime.stops == 0


async def test_a_run_that_everybody_has_left_is_stopped() -> None:
    runtime = SteppedRuntime()
    async with batching(runtime) as batcher, asyncio.TaskGroup() as callers:
        tasks = [callers.create_task(infer(batcher, value)) for value in (1, 2)]
        await started(runtime)
        for task in tasks:
            task.cancel()
        await eventually(lambda: runtime.stops == 1)
        await eventually(lambda: batcher.is_idle)


async def test_a_caller_who_leaves_while_waiting_never_runs() -> None:
    runtime = SteppedRuntime()
    async with batching(runtime) as batcher, asyncio.TaskGroup() as callers:
        callers.create_task(infer(batcher, 1))
        await started(runtime)
        leaves = callers.create_task(infer(batcher, 2))
        await waiting(batcher, 1)
        leaves.cancel()
        await waiting(batcher, 0)
        runtime.go()
    assert runtime.batches == [1]


async def test_a_call_whose_time_is_over_never_runs() -> None:
    runtime = SteppedRuntime()
    async with batching(runtime) as batcher, asyncio.TaskGroup() as callers:
        callers.create_task(infer(batcher, 1))
        await started(runtime)
        late = callers.create_task(refusal(infer(batcher, 2, expires_s=0)))
        await waiting(batcher, 1)
        runtime.go()
    assert isinstance(late.result(), ExpiredError)
    assert runtime.batches == [1]


@pytest.mark.parametrize(("value", "kind"), [(BAD_VALUE, InvalidError), (CRASH_VALUE, ServemeshError)])
async def test_a_bad_row_fails_one_call_and_not_its_batch_mates(value: float, kind: type[Exception]) -> None:
    runtime = MemoryRuntime()
    async with batching(runtime) as batcher, asyncio.TaskGroup() as callers:
        good = callers.create_task(infer(batcher, 1))
        bad = callers.create_task(refusal(infer(batcher, value)))
        other = callers.create_task(infer(batcher, 3))
    assert (good.result(), other.result()) == ([2], [6])
    assert isinstance(bad.result(), kind)


async def test_a_full_queue_refuses_and_keeps_what_it_has() -> None:
    runtime = SteppedRuntime()
    async with batching(runtime, queue_rows_max=2) as batcher, asyncio.TaskGroup() as callers:
        callers.create_task(infer(batcher, 1))
        await started(runtime)
        waits = callers.create_task(infer(batcher, 2, 3))
        await waiting(batcher, 2)
        assert isinstance(await refusal(infer(batcher, 4)), OverloadedError)
        runtime.go(2)
    assert waits.result() == [4, 6]


async def test_rows_are_never_more_than_allowed() -> None:
    runtime = MemoryRuntime()
    async with batching(runtime, rows_max=4) as batcher, asyncio.TaskGroup() as callers:
        for n in range(40):
            callers.create_task(infer(batcher, *range(n % 4 + 1)))
    assert max(runtime.batches) <= 4


async def test_models_without_rows_run_one_call_at_a_time_on_each_execution() -> None:
    runtime = SteppedRuntime()
    async with batching(runtime, WHOLE, executions=2) as batcher, asyncio.TaskGroup() as callers:
        for value in range(3):
            callers.create_task(infer(batcher, value, value))
        await started(runtime, 2)
        assert batcher.waiting_rows == 2
        runtime.go(3)
    assert runtime.batches == [2, 2, 2]


async def test_a_lingering_batcher_waits_for_a_batch_to_fill() -> None:
    runtime = MemoryRuntime()
    async with batching(runtime, rows_max=3, linger_s=60) as batcher, asyncio.TaskGroup() as callers:
        callers.create_task(infer(batcher, 1))
        await waiting(batcher, 1)
        callers.create_task(infer(batcher, 2, 3))
    assert runtime.batches == [3]


async def test_a_lingering_batcher_waits_no_longer_than_it_may() -> None:
    runtime = MemoryRuntime()
    async with batching(runtime, rows_max=3, linger_s=0.01) as batcher:
        assert await infer(batcher, 1) == [2]


async def test_a_draining_batcher_answers_what_it_has_and_takes_nothing_new() -> None:
    runtime = SteppedRuntime()
    async with batching(runtime) as batcher, asyncio.TaskGroup() as callers:
        has = callers.create_task(infer(batcher, 1))
        await started(runtime)
        drained = callers.create_task(batcher.drain())
        await eventually(lambda: not batcher.is_open)
        assert isinstance(await refusal(infer(batcher, 2)), UnavailableError)
        assert not drained.done()
        runtime.go()
    assert has.result() == [2]


async def test_a_batcher_is_drained_when_the_last_caller_leaves_while_lingering() -> None:
    async with batching(MemoryRuntime(), linger_s=60) as batcher, asyncio.TaskGroup() as callers:
        leaves = callers.create_task(infer(batcher, 1))
        await waiting(batcher, 1)
        leaves.cancel()
        await batcher.drain()


async def test_a_lingering_batcher_closes_at_once() -> None:
    async with asyncio.TaskGroup() as callers:
        async with batching(MemoryRuntime(), linger_s=60) as batcher:
            waits = callers.create_task(refusal(infer(batcher, 1)))
            await waiting(batcher, 1)
        assert batcher.is_idle
    assert isinstance(waits.result(), UnavailableError)


async def test_leaving_the_batcher_fails_who_still_waits() -> None:
    runtime = SteppedRuntime()
    async with asyncio.TaskGroup() as callers, batching(runtime) as batcher:
        runs = callers.create_task(refusal(infer(batcher, 1)))
        await started(runtime)
        waits = callers.create_task(refusal(infer(batcher, 2)))
        await waiting(batcher, 1)
    assert isinstance(runs.result(), UnavailableError)
    assert isinstance(waits.result(), UnavailableError)


async def test_a_model_that_gives_other_rows_back_is_run_one_call_at_a_time() -> None:
    class Total(MemoryRuntime):
        def run(self, inputs, outputs, stop):  # type: ignore[no-untyped-def]
            return [super().run(inputs, outputs, stop)[0].sum(keepdims=True)]

    runtime = Total()
    async with batching(runtime) as batcher, asyncio.TaskGroup() as callers:
        tasks = [callers.create_task(infer(batcher, value, value)) for value in (1, 2)]
    assert [task.result() for task in tasks] == [[4], [8]]


async def test_statistics_count_calls_rows_and_batches() -> None:
    statistics = Statistics()
    async with Batcher(MemoryRuntime(), ROWS, BatchPolicy(), statistics) as batcher:
        await infer(batcher, 1, 2)
        await infer(batcher, 3)
        await refusal(infer(batcher, BAD_VALUE))
    assert (statistics.rows, statistics.batches) == (3, 2)
    assert (statistics.success.count, statistics.fail.count, statistics.queue.count) == (2, 1, 3)
    assert statistics.by_rows.keys() == {1, 2}
    assert statistics.last_call_ms > 0


async def refusal(call: object) -> Exception:
    with pytest.raises(ServemeshError) as refused:
        await call  # type: ignore[misc]
    return refused.value


async def test_tensors_are_free_without_the_garbage_collector_once_their_call_is_answered() -> None:
    async with batching(MemoryRuntime()) as batcher:
        array: Array = np.ones(3, np.float32)
        ended = weakref.ref(array)
        gc.disable()
        try:
            await batcher.infer([array], 3, outputs=("y",), expires_s=math.inf)
            del array
            await eventually(lambda: ended() is None)  # the pool's thread lets go a little later
        finally:
            gc.enable()

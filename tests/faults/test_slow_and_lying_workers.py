"""Workers that are slow, or fail whatever they are asked: they get few calls, and callers notice little."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import pytest

from tests.harness.edge import Edge, holding, running_edge
from tests.harness.faults import FULL, lasting
from tests.harness.marks import Marks
from tests.harness.oip_worker import OipWorker, oip_worker
from tests.harness.open_loop import Ended, after, answered, open_loop

# Shares and losses are told, not asserted: where processor time is short, all of these workers are slow together.
WORKERS = 3
TAKES_S = 0.030
RATE_PER_S = 0.6 * WORKERS / TAKES_S
FAIR_PERCENT = 100 / WORKERS
BARE = ("RESOURCE_EXHAUSTED", "INTERNAL", "UNAVAILABLE", "UNKNOWN")[: 4 if FULL else 2]


@asynccontextmanager
async def an_edge_with_workers(folder: Path) -> AsyncIterator[tuple[Edge, list[OipWorker]]]:
    """Run Envoy in front of workers that take some time for each call, one after the other."""
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(oip_worker(f"worker-{n}")) for n in range(WORKERS)]
        for worker in workers:
            worker.takes_s = TAKES_S
        edge = await stack.enter_async_context(running_edge(folder))
        await edge.publish([holding(worker, models=["iris"]) for worker in workers])
        await edge.until_healthy(WORKERS + 1)
        yield edge, workers


async def test_a_worker_ten_times_slower_gets_a_quarter_of_its_share_at_most(
    tmp_path: Path, marks: Marks
) -> None:
    async with an_edge_with_workers(tmp_path) as (edge, workers):
        workers[0].takes_s = 10 * TAKES_S
        await open_loop(edge, rate_per_s=RATE_PER_S, until=after(lasting(1.5, 5)))
        for worker in workers:
            worker.calls = 0
        calls = await open_loop(edge, rate_per_s=RATE_PER_S, until=after(lasting(2, 20)))
    share = _percent(workers[0].calls, sum(worker.calls for worker in workers))
    marks.told("R03", "share of a slow worker ÷ a fair one", 100 * share / FAIR_PERCENT, unit="%", at_most=25)
    marks.told("R03", "failed calls beside a slow worker", _failed(calls), at_most=0)


@pytest.mark.parametrize("code", BARE)
async def test_a_worker_that_fails_every_call_at_once_gets_hardly_any(
    tmp_path: Path, marks: Marks, code: str
) -> None:
    async with an_edge_with_workers(tmp_path) as (edge, workers):
        black_hole = workers[0]
        black_hole.ends = grpc.StatusCode[code]
        before = await open_loop(edge, rate_per_s=RATE_PER_S, until=after(2))
        for worker in workers:
            worker.calls = 0
        calls = await open_loop(edge, rate_per_s=RATE_PER_S, until=after(lasting(3, 20)))
    share = _percent(black_hole.calls, sum(worker.calls for worker in workers))
    marks.told("R04", f"share of a worker that answers {code}, after 2 s", share, unit="%", at_most=5)
    failed = _percent(_failed([*before, *calls]), len(before) + len(calls))
    marks.told("R04", f"failed calls beside a worker that answers {code}", failed, unit="%", at_most=0.1)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("code", BARE)
async def test_retries_do_not_multiply_when_everything_fails(tmp_path: Path, marks: Marks, code: str) -> None:
    async with an_edge_with_workers(tmp_path) as (edge, workers):
        for worker in workers:
            worker.ends = grpc.StatusCode[code]
        calls = await open_loop(edge, rate_per_s=RATE_PER_S, until=after(lasting(1.5, 60)))
        attempts = sum(worker.calls for worker in workers)
        for worker in workers:
            worker.ends = None
        healed = await open_loop(edge, rate_per_s=RATE_PER_S / 2, until=answered(50, within_s=10))
    assert _failed(calls) == len(calls)
    what = f"attempts ÷ calls while every worker answers {code}"
    marks.must("R09", what, attempts / len(calls), at_most=1.2)
    failed_s = [call.start_s - healed[0].start_s for call in healed if not call.is_ok]
    marks.told(
        "R09", "recovered after everything had failed, after", max(failed_s, default=0), unit="s", at_most=5
    )
    assert any(call.is_ok for call in healed)


def _failed(calls: Sequence[Ended]) -> int:
    return sum(1 for call in calls if not call.is_ok)


def _percent(part: float, whole: float) -> float:
    return 100 * part / whole if whole else 0.0

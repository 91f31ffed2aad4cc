"""How many workers run, as the demand asks, under a virtual clock."""

import asyncio
import math
import random
from contextlib import suppress

import pytest

from servemesh.local.domain.scaling import Scaling, ScalingPolicy, resting
from servemesh.local.scaling import Autoscaler
from tests.harness.clock import SteppedClock

POLICY = ScalingPolicy(workers_min=1, workers_max=6)


def after(samples: list[int | None], *, start: int = 1, interval_s: float = 10.0) -> list[int]:
    """Return how many workers are wanted after each sample."""
    scaling, wanted = Scaling(wanted=start), []
    for place, needed in enumerate(samples):
        scaling = scaling.after(1000 + place * interval_s, needed, POLICY)
        wanted.append(scaling.wanted)
    return wanted


def test_one_sample_changes_nothing():
    assert after([6, 1, 1, 6, 1, 1, 6]) == [1] * 7


def test_more_are_started_once_all_samples_of_a_while_ask_for_more_and_as_many_as_all_agree_on():
    assert after([3, 5, 4, 4]) == [1, 1, 3, 3]


def test_a_sample_that_is_missing_ends_the_streak():
    assert after([3, 3, None, 3, 3, 3]) == [1, 1, 1, 1, 1, 3]


def test_fewer_run_only_after_a_long_while_and_one_at_a_time():
    wanted = after([1] * 100, start=4)
    assert wanted[:30] == [4] * 30
    assert wanted[30:61] == [3] * 31
    assert wanted[61:92] == [2] * 31
    assert wanted[92:] == [1] * 8


def test_the_bounds_hold_whatever_is_asked_for():
    assert max(after([1000] * 50)) == 6
    assert min(after([0] * 400, start=3)) == 1


def test_the_last_workers_are_those_that_rest():
    assert resting(4, 2) == {"worker-3", "worker-4"}
    assert resting(4, 4) == frozenset()


@pytest.mark.parametrize("seed", range(30))
def test_through_a_noisy_day_the_mesh_is_neither_short_for_long_nor_restless(seed: int):
    """Demand of a day with noise and bursts; a worker helps 15 s after it was wanted, and load shows as run time."""
    chance = random.Random(seed)
    scaling, changes, short_s, longest_short_s = Scaling(wanted=1), 0, 0.0, 0.0
    started = [0.0]
    interval_s, worker_rows = 10.0, 100.0
    for step in range(int(86_400 / interval_s)):
        now_s = step * interval_s
        load = 250 + 200 * math.sin(2 * math.pi * now_s / 86_400)
        rows = max(0.0, load * chance.gauss(1, 0.1)) * (3 if chance.random() < 0.01 else 1)
        running = sum(now_s - begun >= 15 for begun in started)
        # What ran is all that can be seen; where more was asked for, calls failed and count, too.
        needed = math.ceil(min(rows, 1.5 * running * worker_rows) / (0.7 * worker_rows))
        scaling = scaling.after(now_s, needed if chance.random() > 0.02 else None, POLICY)
        while len(started) < scaling.wanted:
            started.append(now_s)
        changes += len(started) != scaling.wanted or started[-1] == now_s
        del started[scaling.wanted :]
        assert POLICY.workers_min <= scaling.wanted <= POLICY.workers_max
        short_s = short_s + interval_s if load > running * worker_rows else 0.0
        longest_short_s = max(longest_short_s, short_s)
    assert longest_short_s <= 180
    assert changes <= 40


class SteppedDemand:
    """Needs what the test says."""

    def __init__(self) -> None:
        self.needed: int | None = 1

    async def workers_needed(self) -> int | None:
        return self.needed


async def test_the_loop_tells_the_supervisor_which_workers_rest():
    clock, demand, told = SteppedClock(), SteppedDemand(), []
    autoscaler = Autoscaler(demand, told.append, POLICY, clock, interval_s=10.0)
    task = asyncio.get_running_loop().create_task(autoscaler.run())
    await clock.advance(100)
    assert told == []
    demand.needed = 3
    await clock.advance(60)
    assert told == [frozenset({"worker-4", "worker-5", "worker-6"})]
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task

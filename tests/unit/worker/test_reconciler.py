"""Loading and unloading, with sessions that a test holds in its hand."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from servemesh.errors import ConflictError, InvalidError, OverloadedError, UnavailableError
from servemesh.worker.domain.residency import Seat
from servemesh.worker.domain.slots import SlotState
from servemesh.worker.domain.versions import Batching, Version
from servemesh.worker.service.execution import Array, Stop
from servemesh.worker.service.residency import Residency
from tests.harness.reconciler_bench import MEMORY_BYTES_MAX, Bench, MemorySession
from tests.harness.waiting import eventually
from tests.harness.worker_values import an_assigned


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def test_what_fits_becomes_ready_and_the_rest_stays_unloaded(bench: Bench):
    bench.assign(an_assigned("a"), an_assigned("b"), an_assigned("c"))
    async with bench.running():
        await bench.become(a="READY", b="READY", c="UNLOADED")


async def test_a_call_for_an_unloaded_version_evicts_the_least_recently_used(bench: Bench):
    bench.assign(an_assigned("a"), an_assigned("b"), an_assigned("c"))
    async with bench.running():
        await bench.become(a="READY", b="READY", c="UNLOADED")
        bench.residency.find("a", "")
        slot = await bench.residency.ready("c", "")
        assert slot.model == "c"
        assert bench.states() == {"a": "READY", "b": "UNLOADED", "c": "READY"}
        assert bench.sessions["b"].is_closed


async def test_everything_is_closed_and_let_go_at_the_end(bench: Bench):
    bench.assign(an_assigned("a"), an_assigned("b"))
    async with bench.running():
        await bench.become(a="READY", b="READY")
    assert all(session.is_closed for session in bench.sessions.values())
    assert bench.artifacts.held.total() == 0


async def test_a_load_that_hangs_does_not_keep_others_from_loading(bench: Bench):
    bench.hanging.add("a")
    bench.assign(an_assigned("a"), an_assigned("b"))
    async with bench.running():
        await bench.become(a="LOADING", b="READY")


async def test_a_load_that_hangs_fails_when_its_time_is_over(bench: Bench):
    bench.hanging.add("a")
    bench.open_timeout_s = 0.05
    bench.assign(an_assigned("a"))
    async with bench.running():
        await eventually(lambda: any(told.get("a") == "FAILED" for told in bench.told))
        bench.hanging.clear()
        await bench.become(a="READY")


async def test_an_outage_of_the_store_is_waited_out(bench: Bench):
    away = UnavailableError("the store is away", reason="BLOB_STORE_AWAY")
    bench.artifacts.failures["a"] = [away, away, away]
    bench.assign(an_assigned("a"))
    async with bench.running():
        await bench.become(a="READY")


async def test_a_failed_version_that_finds_no_room_is_not_looked_after_all_the_time(bench: Bench):
    bench.artifacts.failures["a"] = [UnavailableError("the store is away", reason="BLOB_STORE_AWAY")] * 9
    bench.assign(an_assigned("a"))
    planned = asyncio.Event()

    async def planned_anew() -> None:
        planned.clear()
        async with asyncio.timeout(0.3):
            await planned.wait()

    class Watched(Residency):
        def seats(self) -> list[Seat]:
            planned.set()
            return super().seats()

    bench.residency.__class__ = Watched
    async with bench.running(), asyncio.timeout(5):
        await bench.become(a="FAILED")
        bench.assign(an_assigned("b"), an_assigned("c"), an_assigned("a"))
        await bench.become(a="FAILED", b="READY", c="READY")
        with suppress(TimeoutError):
            while True:  # until nobody has looked for a while; the outer timeout fails the test
                await planned_anew()


async def test_a_version_that_callers_wait_for_gets_the_room_of_one_that_is_not_busy_any_more(bench: Bench):
    class Busy(MemorySession):
        started, end = threading.Event(), threading.Event()

        def run(self, inputs: Mapping[str, Array], outputs: Sequence[str], stop: Stop) -> list[Array]:
            if "b" in bench.states() and bench.states()["b"] == bench.states()["a"] == "READY":
                self.started.set()
                self.end.wait(5)
            return super().run(inputs, outputs, stop)

    bench.sessions = {"a": Busy(), "b": Busy()}
    bench.assign(an_assigned("a"), an_assigned("b"), an_assigned("c"))
    async with bench.running(), asyncio.timeout(5), asyncio.TaskGroup() as group:
        await bench.become(a="READY", b="READY", c="UNLOADED")
        calls = [
            group.create_task(
                bench.residency.find(model, "").batcher.infer(
                    [np.zeros((1, 4), np.float32)], 1, outputs=("y",), expires_s=np.inf
                )
            )
            for model in ("a", "b")
        ]
        await asyncio.to_thread(Busy.started.wait)
        waiting = group.create_task(bench.residency.ready("c", ""))
        await eventually(lambda: bench.residency.demanded != [], 3)
        Busy.end.set()
        await asyncio.wait(calls)
        assert (await waiting).model == "c"


async def test_a_version_that_killed_the_worker_three_times_is_not_opened_again(bench: Bench):
    assigned = an_assigned("a")
    bench.journal.counts[assigned.version.sha256] = 3
    bench.assign(assigned)
    async with bench.running():
        await bench.become(a="FAILED")
        assert [slot.reason for slot in bench.residency.slots()] == ["CRASHED_WORKER"]
        with pytest.raises(ConflictError, match="died 3 times"):
            await bench.residency.ready("a", "")
    assert bench.opened == []


async def test_a_version_that_can_never_fit_is_refused_with_a_limit(bench: Bench):
    bench.assign(an_assigned("a", version=_sized(an_assigned("a").version, MEMORY_BYTES_MAX + 1)))
    async with bench.running():
        await bench.become(a="FAILED")
        with pytest.raises(OverloadedError, match="takes 251 bytes"):
            await bench.residency.ready("a", "")


async def test_a_model_that_is_refused_says_why(bench: Bench):
    bench.artifacts.failures["a"] = [InvalidError("no", reason="MODEL_REFUSED")] * 50
    bench.assign(an_assigned("a"))
    async with bench.running():
        await eventually(lambda: any(told.get("a") == "FAILED" for told in bench.told))


async def test_rows_that_do_not_come_back_one_for_one_switch_batching_off(bench: Bench):
    bench.sessions["a"] = MemorySession(rows=1)
    bench.assign(an_assigned("a"))
    async with bench.running():
        await bench.become(a="READY")
        assert not bench.residency.find("a", "").signature.batchable


async def test_a_removed_version_whose_load_hangs_is_given_up(bench: Bench):
    bench.hanging.add("a")
    bench.assign(an_assigned("a"))
    async with bench.running():
        await bench.become(a="LOADING")
        bench.assign()
        await bench.become()
    assert bench.artifacts.held.total() == 0


async def test_an_alias_moves_without_a_load(bench: Bench):
    bench.assign(an_assigned("a"))
    async with bench.running():
        await bench.become(a="READY")
        bench.assign(an_assigned("a", aliases=("prod",)))
        assert bench.residency.find("a", "prod").version_id == 1
    assert bench.opened == ["a"]


async def test_another_batching_policy_is_taken_over_without_a_load(bench: Bench):
    bench.assign(an_assigned("a"))
    async with bench.running():
        await bench.become(a="READY")
        bench.assign(an_assigned("a", batching=Batching(batch_rows_max=2)))
        await eventually(lambda: bench.residency.find("a", "").batcher.rows_max == 2)
    assert bench.opened == ["a"]


async def test_what_is_unloaded_by_hand_stays_so_until_it_is_asked_for(bench: Bench):
    bench.assign(an_assigned("a"))
    async with bench.running():
        await bench.become(a="READY")
        await bench.residency.unload("a")
        await bench.become(a="UNLOADED")
        await bench.residency.ready("a", "")
        assert bench.states() == {"a": SlotState.READY}


async def test_a_caller_who_leaves_while_it_loads_leaves_the_load(bench: Bench):
    bench.hanging.add("a")
    bench.assign(an_assigned("a"))
    async with bench.running():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await bench.residency.ready("a", "")
        assert bench.residency.demanded == []
        assert bench.states() == {"a": "LOADING"}


def _sized(version: Version, size_bytes: int) -> Version:
    return replace(version, files=(replace(version.files[0], size_bytes=size_bytes),))


async def test_a_failure_that_was_waited_out_does_not_refuse_a_call_although_others_took_the_room(
    bench: Bench,
) -> None:
    failures = bench.artifacts.failures["c"] = [UnavailableError("the store is away") for _ in range(20)]
    bench.assign(an_assigned("c"))
    async with bench.running():
        await bench.become(c="FAILED")
        bench.assign(an_assigned("a"), an_assigned("b"), an_assigned("c"))
        await bench.become(a="READY", b="READY", c="UNLOADED")
        failures.clear()
        assert (await bench.residency.ready("c", "")).model == "c"


async def test_what_turned_out_too_large_while_all_were_busy_is_made_up_for_when_one_is_idle(
    bench: Bench,
) -> None:
    bench.sessions["b"] = MemorySession()
    bench.sessions["b"].memory_bytes = 180
    bench.assign(an_assigned("a", batching=Batching(linger_s=0.2)), an_assigned("b"))
    async with bench.running(), asyncio.TaskGroup() as callers:
        slot = await bench.residency.ready("a", "")
        rows = np.zeros((1, 4), np.float32)
        callers.create_task(slot.batcher.infer([rows], 1, outputs=("y",), expires_s=math.inf))
        await bench.residency.ready("b", "")
        await eventually(
            lambda: sum(slot.memory_bytes for slot in bench.residency.slots()) <= MEMORY_BYTES_MAX
        )

"""Loading and unloading, with sessions that a test holds in its hand."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from servemesh.errors import ConflictError, InvalidError, OverloadedError, ServemeshError, UnavailableError
from servemesh.lifecycle import background
from servemesh.worker.domain.batching import BatchPolicy
from servemesh.worker.domain.residency import Seat
from servemesh.worker.domain.slots import SlotState
from servemesh.worker.domain.versions import AssignedVersion, Assignment, Batching, Version
from servemesh.worker.service.execution import Array, Stop
from servemesh.worker.service.loading import Loader, LoadLimits
from servemesh.worker.service.reconciler import ReconcilePolicy, Reconciler
from servemesh.worker.service.residency import Residency
from tests.harness.waiting import eventually
from tests.harness.worker_values import an_assigned

MEMORY_BYTES_MAX = 250


class MemorySession:
    """A model that gives its input back; `rows` given, it always gives so many rows."""

    def __init__(self, rows: int | None = None) -> None:
        self.memory_bytes = 100
        self.is_closed = False
        self._rows = rows

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str], stop: Stop) -> list[Array]:
        (x,) = inputs.values()
        return [x if self._rows is None else np.zeros((self._rows, 4), np.float32)]

    def close(self) -> None:
        self.is_closed = True


class MemoryArtifacts:
    """Artifacts whose folder is named after the model; `failures` are raised, in turn."""

    def __init__(self) -> None:
        self.failures: dict[str, list[ServemeshError]] = {}
        self.held: Counter[str] = Counter()

    @asynccontextmanager
    async def holding(self, version: Version) -> AsyncIterator[Path]:
        if self.failures.get(version.model):
            raise self.failures[version.model].pop(0)
        self.held[version.model] += 1
        try:
            yield Path(version.model)
        finally:
            self.held[version.model] -= 1


class MemoryJournal:
    """Counts that a test sets."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def crashes(self, sha256: str) -> int:
        return self.counts[sha256]

    def opening(self, sha256: str) -> None:
        self.counts[sha256] += 1

    def opened(self, sha256: str) -> None:
        self.counts.pop(sha256, None)

    def mark(self, sha256: str) -> None:
        return None


class Bench:
    """A residency with its reconciler, and everything under it in memory."""

    def __init__(self) -> None:
        self.artifacts = MemoryArtifacts()
        self.journal = MemoryJournal()
        self.sessions: dict[str, MemorySession] = {}
        self.opened: list[str] = []
        self.hanging: set[str] = set()
        self.told: list[dict[str, str]] = []
        self.open_timeout_s = 5.0
        self.revision = 0
        self.residency = Residency(
            policy=BatchPolicy(),
            memory_factor=1.0,
            load_wait_s=2.0,
            name_wait_s=0.0,
            clock_s=time.monotonic,
            told=lambda slots: self.told.append({slot.model: slot.state.value for slot in slots}),
        )

    async def open(self, path: Path) -> MemorySession:
        model = path.parent.name
        self.opened.append(model)
        if model in self.hanging:
            await asyncio.Event().wait()
        return self.sessions.setdefault(model, MemorySession())

    def assign(self, *versions: AssignedVersion) -> None:
        self.revision += 1
        self.residency.assign(Assignment(revision=self.revision, versions=versions))

    def states(self) -> dict[str, str]:
        return {slot.model: slot.state.value for slot in self.residency.slots()}

    async def become(self, **states: str) -> None:
        await eventually(lambda: self.states() == states, 3, f"{states}, got {self.states()}")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        limits = LoadLimits(memory_bytes_max=MEMORY_BYTES_MAX, open_timeout_s=self.open_timeout_s)
        loader = Loader(self.artifacts, self.open, self.journal, limits=limits, policy=BatchPolicy())
        policy = ReconcilePolicy(
            memory_bytes_max=MEMORY_BYTES_MAX, retry_first_s=0.02, drain_wait_s=0.01, evict_wait_s=0.01
        )
        clock = asyncio.get_running_loop().time
        reconciler = Reconciler(self.residency, loader, policy, clock_s=clock, chances=random.Random(1))
        async with background(reconciler.run):
            yield


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

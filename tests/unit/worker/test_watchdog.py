"""What the watchdog ends a worker for, and what it lets be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from servemesh.worker.domain.signature import Signature
from servemesh.worker.domain.versions import Version
from servemesh.worker.service.execution import Array, Stop
from servemesh.worker.service.runs import Runs
from servemesh.worker.service.watchdog import LOOK_S, VERSIONS_MAX, Watchdog, WatchLimits

GIB = 1 << 30


def a_version(model: str) -> Version:
    signature = Signature(inputs=(), outputs=(), batchable=False)
    return Version(
        name=f"models/{model}/versions/1",
        model=model,
        version_id=1,
        sha256=model,
        files=(),
        entry_path="model.onnx",
        signature=signature,
    )


@dataclass
class Watched:
    """A watchdog with its clock and memory in the hand of a test. It is a runtime that looks while it runs."""

    now_s: float = 0.0
    used_bytes: int = GIB
    counts: Counter[str] = field(default_factory=Counter)
    ended: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.runs = Runs(lambda: self.now_s)
        self.watchdog = Watchdog(
            self.runs,
            self,
            WatchLimits(stop_wait_s=1.0, memory_bytes_max=4 * GIB),
            end=lambda version: self.ended.append(version.model),
            memory_bytes=lambda: self.used_bytes,
            clock_s=lambda: self.now_s,
        )

    def condemned(self, sha256: str) -> None:
        self.counts[sha256] += 1

    def looks(self, times: int, *, grown_bytes: int = 0, step_s: float = LOOK_S) -> bool:
        for _ in range(times):
            self.now_s += step_s
            self.used_bytes += grown_bytes
            if self.watchdog.look():
                return True
        return False

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str], stop: Stop) -> list[Array]:
        """Let ten looks pass, during which memory may grow."""
        self.looks(10, grown_bytes=int(inputs["grown_bytes"]))
        return []

    def ran(self, model: str, *, stopped: bool = False, grown_bytes: int = 0) -> None:
        stop = Stop()
        stop.stopped = stopped
        inputs = {"grown_bytes": np.array(grown_bytes)}
        self.runs.watched(self, a_version(model)).run(inputs, [], stop)


def test_a_run_that_goes_on_after_its_stop_ends_the_worker_and_counts() -> None:
    watched = Watched()
    watched.ran("stuck", stopped=True)
    assert watched.ended == ["stuck"]
    assert watched.counts == {"stuck": 1}


def test_a_long_run_that_nobody_has_stopped_is_left_alone() -> None:
    watched = Watched()
    for _ in range(10):
        watched.ran("long")
    assert watched.ended == []


def test_time_in_which_the_process_was_frozen_is_not_held_against_a_run() -> None:
    watched = Watched()
    stop = Stop()
    stop.stopped = True

    class Frozen:
        def run(self, inputs: Mapping[str, Array], outputs: Sequence[str], stop: Stop) -> list[Array]:
            watched.looks(2, step_s=30)
            return []

    watched.runs.watched(Frozen(), a_version("frozen")).run({}, [], stop)
    assert watched.ended == []


def test_the_version_that_memory_grew_with_is_blamed_when_it_is_nearly_gone() -> None:
    watched = Watched()
    watched.ran("innocent")
    watched.ran("greedy", grown_bytes=GIB // 3)
    assert watched.looks(20)
    assert watched.ended == ["greedy"]


def test_memory_that_is_given_back_at_once_is_forgiven() -> None:
    watched = Watched()
    watched.ran("spiky", grown_bytes=GIB // 5)
    watched.used_bytes = 4 * GIB
    assert not watched.looks(5)
    watched.used_bytes = GIB
    assert not watched.looks(50)


def test_memory_that_grew_while_nothing_ran_is_blamed_on_nobody() -> None:
    watched = Watched()
    assert not watched.looks(50, grown_bytes=GIB)


def test_the_greediest_of_very_many_versions_is_not_forgotten() -> None:
    watched = Watched()
    watched.ran("greedy", grown_bytes=GIB // 5)
    for number in range(2 * VERSIONS_MAX):
        watched.ran(f"modest{number}", grown_bytes=1)
    watched.ran("last", grown_bytes=GIB // 8)
    watched.looks(20)
    assert watched.ended == ["greedy"]

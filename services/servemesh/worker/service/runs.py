"""The runs under way, by thread, and what each Version has run: what the watchdog looks at."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from weakref import WeakSet

from servemesh.worker.domain.versions import Version
from servemesh.worker.service.execution import Array, Runtime, Stop


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a Version, since when it goes on, and what stops it."""

    version: Version
    stop: Stop
    started_s: float


class Runs:
    """Who runs what. Written by the threads that run models, read by any other."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._by_thread: dict[int, Run] = {}
        self._watched: WeakSet[_Watched] = WeakSet()

    def under_way(self) -> list[Run]:
        """Return the runs as of about now."""
        return list(self._by_thread.values())

    def spent_s(self, since_s: float) -> list[tuple[Version, float]]:
        """Return how long Versions have run since then, where it was last asked: about, and in several pieces."""
        now_s = self._clock_s()
        running = [(run.version, now_s - max(run.started_s, since_s)) for run in self.under_way()]
        return running + [(watched.version, watched.taken_s()) for watched in list(self._watched)]

    def watched(
        self, runtime: Runtime, version: Version, mark: AbstractContextManager[None] | None = None
    ) -> Runtime:
        """Return the runtime with its runs noted here, and `mark` standing during each."""
        watched = _Watched(runtime, version, mark or nullcontext(), self._by_thread, self._clock_s)
        self._watched.add(watched)
        return watched


class _Watched:
    """A runtime whose runs are noted."""

    def __init__(
        self,
        runtime: Runtime,
        version: Version,
        mark: AbstractContextManager[None],
        by_thread: dict[int, Run],
        clock_s: Callable[[], float],
    ) -> None:
        self.version = version
        self._runtime = runtime
        self._mark = mark
        self._by_thread = by_thread
        self._clock_s = clock_s
        self._spent_s = 0.0

    def taken_s(self) -> float:
        """Return how long runs took that have ended since this was last asked."""
        spent_s, self._spent_s = self._spent_s, 0.0
        return spent_s

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str], stop: Stop) -> list[Array]:
        thread, started_s = threading.get_ident(), self._clock_s()
        self._by_thread[thread] = Run(self.version, stop, started_s)
        try:
            with self._mark:
                return self._runtime.run(inputs, outputs, stop)
        finally:
            del self._by_thread[thread]
            self._spent_s += self._clock_s() - started_s

"""Ends this process in order when one model holds it: by a run that does not stop, or by memory that it keeps."""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from servemesh.observe import names
from servemesh.worker.domain.versions import Version
from servemesh.worker.service.execution import Stop
from servemesh.worker.service.runs import Run, Runs

_log = logging.getLogger(__name__)

LOOK_S = 0.2
# Above this share of the bound there is soon no memory left for anybody.
MEMORY_SHARE = 0.9
MEMORY_WAIT_S = 2.0
# Of more Versions than these the half with the least growth is forgotten.
VERSIONS_MAX = 1_024


class CrashCounts(Protocol):
    """Remembers over restarts what the process was ended for."""

    def condemned(self, sha256: str) -> None:
        """The process is about to be ended because of the artifact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchLimits:
    """What a model may do before the process is ended for it."""

    stop_wait_s: float = 10.0
    memory_bytes_max: int = 0  # of the whole process; 0 for no bound


class Watchdog:
    """Looks at the runs under way from a thread of its own, which the event loop cannot hold up.

    A kernel that does not look at the runtime's stop would keep its thread, and its slot, as long as it likes;
    and what a runtime has once allocated it keeps. Only the end of the process frees them. It counts as a crash
    of the Version, so that the third one is the last.
    """

    def __init__(
        self,
        runs: Runs,
        counts: CrashCounts,
        limits: WatchLimits,
        *,
        end: Callable[[Version], None],
        memory_bytes: Callable[[], int],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runs = runs
        self._counts = counts
        self._limits = limits
        self._end = end
        self._memory_bytes = memory_bytes
        self._clock_s = clock_s
        self._looked_s = clock_s()
        self._overdue_s: dict[Stop, float] = {}  # how long runs have gone on since they were told to stop
        self._used_bytes = memory_bytes()
        self._grown_bytes: dict[Version, float] = defaultdict(float)
        self._full_s = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Look until the block ends, or a model is found that holds the process."""
        closed = threading.Event()
        thread = threading.Thread(target=self._watch, args=(closed,), name="watchdog", daemon=True)
        thread.start()
        try:
            yield
        finally:
            closed.set()
            thread.join()

    def look(self) -> bool:
        """Look once; True if the process is to end."""
        now_s, before_s = self._clock_s(), self._looked_s
        # A process that was frozen has not been given the time that passed.
        step_s = min(now_s - before_s, 2 * LOOK_S)
        self._looked_s = now_s
        guilty, cause = self._unstopped(self._runs.under_way(), step_s), "it does not stop"
        if guilty is None:
            guilty, cause = self._greedy(self._runs.spent_s(before_s), step_s), "it takes too much memory"
        if guilty is None:
            return False
        _log.error(names.WORKER_CONDEMNED, extra={"version": guilty.name, "cause": cause})
        self._counts.condemned(guilty.sha256)
        self._end(guilty)
        return True

    def _unstopped(self, runs: list[Run], step_s: float) -> Version | None:
        before, self._overdue_s = self._overdue_s, {}
        for run in runs:
            if run.stop.stopped:
                overdue_s = before[run.stop] + step_s if run.stop in before else 0.0
                if overdue_s >= self._limits.stop_wait_s:
                    return run.version
                self._overdue_s[run.stop] = overdue_s
        return None

    def _greedy(self, spent_s: list[tuple[Version, float]], step_s: float) -> Version | None:
        """Return the Version during whose runs the memory has grown most, if there is too little left."""
        before, self._used_bytes = self._used_bytes, self._memory_bytes()
        whole_s = sum(version_s for _, version_s in spent_s)
        for version, version_s in spent_s:
            if version_s > 0:
                self._grown_bytes[version] += (self._used_bytes - before) * version_s / whole_s
        if len(self._grown_bytes) > VERSIONS_MAX:
            greatest = heapq.nlargest(
                VERSIONS_MAX // 2, self._grown_bytes.items(), key=lambda grown: grown[1]
            )
            self._grown_bytes = defaultdict(float, greatest)
        bound_bytes = MEMORY_SHARE * self._limits.memory_bytes_max
        if not bound_bytes or self._used_bytes <= bound_bytes or not self._grown_bytes:
            self._full_s = 0.0
            return None
        self._full_s += step_s
        if self._full_s < MEMORY_WAIT_S:
            return None
        guilty = max(self._grown_bytes, key=lambda version: self._grown_bytes[version])
        return guilty if self._grown_bytes[guilty] > 0 else None

    def _watch(self, closed: threading.Event) -> None:
        while not closed.wait(LOOK_S):
            if self.look():
                return

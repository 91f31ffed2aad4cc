"""The runs under way, by thread: what a crash is blamed on, and what the watchdog looks at."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from servemesh.worker.domain.versions import Version
from servemesh.worker.service.execution import Array, Runtime, Stop


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a Version, and what stops it."""

    version: Version
    stop: Stop


class Runs:
    """Who runs what. Written by the threads that run models, read by any other."""

    def __init__(self) -> None:
        self._by_thread: dict[int, Run] = {}

    def under_way(self) -> list[Run]:
        """Return the runs as of about now."""
        return list(self._by_thread.values())

    def watched(
        self, runtime: Runtime, version: Version, mark: AbstractContextManager[None] | None = None
    ) -> Runtime:
        """Return the runtime with its runs noted here, and `mark` standing during each."""
        return _Watched(runtime, version, mark or nullcontext(), self._by_thread)


class _Watched:
    """A runtime whose runs are noted."""

    def __init__(
        self,
        runtime: Runtime,
        version: Version,
        mark: AbstractContextManager[None],
        by_thread: dict[int, Run],
    ) -> None:
        self._runtime = runtime
        self._version = version
        self._mark = mark
        self._by_thread = by_thread

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str], stop: Stop) -> list[Array]:
        thread = threading.get_ident()
        self._by_thread[thread] = Run(self._version, stop)
        try:
            with self._mark:
                return self._runtime.run(inputs, outputs, stop)
        finally:
            del self._by_thread[thread]

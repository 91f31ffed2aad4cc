"""What the processes of the mesh take from this machine, read when Prometheus asks."""

from __future__ import annotations

from collections.abc import Iterator

import psutil

from servemesh.local.domain.processes import MeshStatus
from servemesh.observe import metrics, names
from servemesh.observe.metrics import Family, Labels

SUPERVISOR = "local"


class ProcessUsage:
    """A collector over the last status of the mesh: restarts, memory and processor time."""

    def __init__(self) -> None:
        self._status: MeshStatus | None = None

    def show(self, status: MeshStatus) -> None:
        """Take over who runs now."""
        self._status = status

    def collect(self) -> Iterator[Family]:
        """Yield every family."""
        status = self._status
        if status is None:
            return
        restarts: dict[Labels, float] = {(process.name,): process.restarts for process in status.processes}
        memory_bytes: dict[Labels, float] = {}
        cpu_s: dict[Labels, float] = {}
        running = {process.name: process.pid for process in status.processes if process.pid is not None}
        for name, pid in {SUPERVISOR: status.pid, **running}.items():
            try:
                process = psutil.Process(pid)
                times = process.cpu_times()
                cpu_s[name,] = times.user + times.system
                memory_bytes[name,] = process.memory_info().rss
            except psutil.Error:
                continue  # it has just died
        yield metrics.counted(names.LOCAL_RESTARTS, restarts)
        yield metrics.gauged(names.LOCAL_MEMORY, memory_bytes)
        yield metrics.counted(names.LOCAL_CPU, cpu_s)

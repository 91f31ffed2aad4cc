"""What a process and the machine under it use, read when somebody asks: processor, memory, disk, network."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from servemesh.observe import metrics, names
from servemesh.observe.metrics import Family

SAMPLE_AGE_S_MAX = 1.0  # two who ask together get one sample


class ProcessSeries:
    """A collector of what this process uses."""

    def __init__(self) -> None:
        self._process = psutil.Process()

    def collect(self) -> Iterator[Family]:
        """Yield every family."""
        with self._process.oneshot():
            cpu, memory = self._process.cpu_times(), self._process.memory_info()
        yield metrics.counted(names.PROCESS_CPU, {(): cpu.user + cpu.system})
        yield metrics.gauged(names.PROCESS_MEMORY, {(): memory.rss})


class HostSeries:
    """A collector of what the whole machine uses, and the disk that holds `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._labels = (socket.gethostname(),)
        self._lock = threading.Lock()
        self._taken_s = time.monotonic()
        self._before = psutil.cpu_times()
        self._busy = 0.0

    def collect(self) -> Iterator[Family]:
        """Yield every family."""
        here, memory = self._labels, psutil.virtual_memory()
        yield metrics.gauged(names.HOST_CPU_BUSY, {here: self._cpu_busy()})
        yield metrics.gauged(names.HOST_PROCESSORS, {here: psutil.cpu_count() or 1})
        yield metrics.gauged(names.HOST_MEMORY_USED, {here: memory.total - memory.available})
        yield metrics.gauged(names.HOST_MEMORY_MAX, {here: memory.total})
        try:
            disk = psutil.disk_usage(str(self._folder))
        except OSError:  # not made yet, or a disk that is gone
            disk = None
        if disk is not None:
            yield metrics.gauged(names.HOST_DISK_USED, {here: disk.used})
            # What only root may still use is no room for us.
            yield metrics.gauged(names.HOST_DISK_MAX, {here: disk.used + disk.free})
        network = psutil.net_io_counters()
        if network is not None:
            yield metrics.counted(names.HOST_NETWORK_RECEIVED, {here: network.bytes_recv})
            yield metrics.counted(names.HOST_NETWORK_SENT, {here: network.bytes_sent})

    def _cpu_busy(self) -> float:
        with self._lock:
            now_s = time.monotonic()
            if now_s - self._taken_s >= SAMPLE_AGE_S_MAX:
                now = psutil.cpu_times()
                self._busy = busy_share(self._before, now)
                self._before, self._taken_s = now, now_s
            return self._busy


def busy_share(before: psutil._pslinux.scputimes, now: psutil._pslinux.scputimes) -> float:
    """Return the share of the time between two readings in which processors worked."""
    # Time of guests is in that of users already.
    spent = {
        field: getattr(now, field) - getattr(before, field)
        for field in now._fields
        if not field.startswith("guest")
    }
    total_s = sum(spent.values())
    idle_s = spent.get("idle", 0.0) + spent.get("iowait", 0.0)
    return min(1.0, max(0.0, 1.0 - idle_s / total_s)) if total_s > 0 else 0.0

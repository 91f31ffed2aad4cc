"""What each process of a mesh takes, looked up again and again: memory, files, threads, tasks and channels."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass, fields

import psutil
from prometheus_client.parser import text_string_to_metric_families

from tests.harness.faults import FaultMesh

PAGE_S = 5.0
TASKS, CHANNELS = "servemesh_process_tasks", "servemesh_process_channels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """One look at one process. Tasks and channels are None where the process does not tell them."""

    process: str
    pid: int
    seen_s: float
    age_s: float
    rss_mib: float
    files: float
    threads: float
    tasks: float | None = None
    channels: float | None = None

    def __str__(self) -> str:
        told = f" {self.tasks:.0f} tasks {self.channels or 0:.0f} ch" if self.tasks is not None else ""
        return f"{self.process}: {self.rss_mib:.0f} MiB {self.files:.0f} fd {self.threads:.0f} thr{told}"


QUANTITIES = tuple(
    field.name
    for field in fields(Vitals)
    if field.name in ("rss_mib", "files", "threads", "tasks", "channels")
)


def look(mesh: FaultMesh) -> list[Vitals]:
    """Return the vitals of every process that is there."""
    found = []
    supervisor = {"supervisor": {"pid": mesh.supervisor_pid, "metrics_url": None}}
    for name, known in {**supervisor, **mesh.processes}.items():
        try:
            found.append(_vitals(name, int(known["pid"]), _page(mesh.metrics_address(name))))
        except (psutil.Error, TypeError, ValueError):  # it is being started
            continue
    return found


def _vitals(name: str, pid: int, told: dict[str, float]) -> Vitals:
    process = psutil.Process(pid)
    with process.oneshot():
        return Vitals(
            process=name,
            pid=pid,
            seen_s=time.monotonic(),
            age_s=time.time() - process.create_time(),
            rss_mib=process.memory_info().rss / 2**20,
            files=process.num_fds(),
            threads=process.num_threads(),
            tasks=told.get(TASKS),
            channels=told.get(CHANNELS),
        )


def _page(address: str) -> dict[str, float]:
    """Return what a process of ours tells of itself; nothing if it cannot answer now."""
    if not address:
        return {}
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=PAGE_S) as answer:
            return dict(_values(answer.read().decode()))
    except OSError:
        return {}


def _values(page: str) -> Iterable[tuple[str, float]]:
    for family in text_string_to_metric_families(page):
        if family.name in (TASKS, CHANNELS):
            for sample in family.samples:
                yield family.name, sample.value

"""Processor time of processes and of their children, read from the operating system."""

from __future__ import annotations

import time
from collections.abc import Mapping

import psutil


class Meters:
    """The client and the processes of one server. Children are those that there are now."""

    def __init__(self, processes: Mapping[str, int]) -> None:
        self._trees = {name: _tree(pid) for name, pid in processes.items()}

    def read_s(self) -> dict[str, float]:
        """Return the seconds that each has used so far, the client first."""
        used = {name: sum(map(_used_s, tree)) for name, tree in self._trees.items()}
        return {"client": time.process_time(), **used}


def _tree(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _used_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)

"""A process group as the kernel sees it: how much memory its processes hold, and its end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
SCAN_S = 1.0
"""How often to look for processes that have joined the group."""
_KIB = 1024
_HELD = (b"RssAnon:", b"RssShmem:")  # pages of mapped files are not held: the kernel takes them back at need


class ProcessGroup:
    """The group that the process `pid` leads."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._members: tuple[int, ...] = (pid,)
        self._scanned_s = float("-inf")

    def memory_bytes(self, now_s: float) -> int:
        """Return how much memory the processes of the group hold together."""
        if now_s - self._scanned_s >= SCAN_S:
            self._scanned_s = now_s
            self._members = tuple(_members(self._pid))
        return sum(_memory_bytes(pid) for pid in self._members)

    def kill(self) -> None:
        """End every process of the group at once. The leader must not have been waited for."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)


def _members(group: int) -> Iterator[int]:
    for name in os.listdir(PROC):
        if name.isdigit():
            with suppress(OSError):
                stat = (PROC / name / "stat").read_bytes()
                # The name of the program, in brackets, may hold anything.
                if int(stat.rpartition(b")")[2].split()[2]) == group:
                    yield int(name)


def _memory_bytes(pid: int) -> int:
    try:
        status = (PROC / str(pid) / "status").read_bytes()
    except OSError:
        return 0
    lines = (line.split() for line in status.splitlines() if line.startswith(_HELD))
    return sum(int(words[1]) * _KIB for words in lines)

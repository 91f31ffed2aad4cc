"""The machine this process runs on: how much memory there is, and how much this process takes and may take."""

from __future__ import annotations

import resource
from pathlib import Path

import psutil

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_USAGE = Path("/proc/self/statm")
_DATA = 5  # among its fields: pages of our own, touched or not, which is what the limit counts


def memory_bytes() -> int:
    """Return the memory that this process could have: the machine's, or its container's if that is less."""
    total_bytes = int(psutil.virtual_memory().total)
    try:
        limit = _CGROUP_LIMIT.read_text().strip()
    except OSError:
        return total_bytes
    return min(total_bytes, int(limit)) if limit.isdigit() else total_bytes


def limit_process_memory(size_bytes: int) -> None:
    """Have the system refuse this process memory beyond `size_bytes`, which callers of models then meet as errors.

    Otherwise the system would end some process of the machine when there is none left.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (size_bytes, hard))


def process_memory_bytes() -> int:
    """Return the memory that this process has been given, as its limit counts it."""
    return int(_USAGE.read_text().split()[_DATA]) * resource.getpagesize()

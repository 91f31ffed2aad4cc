"""The machine this process runs on: how much memory there is."""

from __future__ import annotations

from pathlib import Path

import psutil

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def memory_bytes() -> int:
    """Return the memory that this process could have: the machine's, or its container's if that is less."""
    total_bytes = int(psutil.virtual_memory().total)
    try:
        limit = _CGROUP_LIMIT.read_text().strip()
    except OSError:
        return total_bytes
    return min(total_bytes, int(limit)) if limit.isdigit() else total_bytes

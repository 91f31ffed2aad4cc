"""Facts that stand beside every figure: the machine and the versions of the libraries."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from servemesh.optimizer.domain.results import Hardware

_PROCESSORS = Path("/proc/cpuinfo")
_CGROUP_MEMORY = Path("/sys/fs/cgroup/memory.max")
_NVIDIA = Path("/proc/driver/nvidia/gpus")


def hardware(provider: str) -> dict[str, Any]:
    """Return what this process runs on and may use."""
    found = Hardware(
        processor=_named(_PROCESSORS, "model name") or platform.machine(),
        processor_count=len(os.sched_getaffinity(0)),
        memory_bytes=_memory_bytes(),
        accelerators=tuple(_accelerators()),
        provider=provider,
    )
    return {**asdict(found), "accelerators": list(found.accelerators)}


def libraries(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of those packages that are there, and of Python."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _memory_bytes() -> int:
    total_bytes = int(psutil.virtual_memory().total)
    try:
        limit = _CGROUP_MEMORY.read_text().strip()
    except OSError:
        return total_bytes
    return min(total_bytes, int(limit)) if limit.isdigit() else total_bytes


def _accelerators() -> list[str]:
    if not _NVIDIA.is_dir():
        return []
    return [_named(path, "Model") or "NVIDIA device" for path in sorted(_NVIDIA.glob("*/information"))]


def _named(path: Path, field: str) -> str:
    """Return the value of the first line `field : value`, "" if there is none."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")

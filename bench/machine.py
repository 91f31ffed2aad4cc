"""The shape of the machine that figures were seen on."""

from __future__ import annotations

import contextlib
import os
import platform


def shape() -> str:
    """Return cores, processor, memory and kernel in words."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as lines:
        model = next(
            (line.partition(": ")[2].strip() for line in lines if line.startswith("model name")), model
        )
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    kernel = platform.release().partition("-")[0]
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores of {model}, {memory_gib:.0f} GiB, Linux {kernel}; everything shares the cores"

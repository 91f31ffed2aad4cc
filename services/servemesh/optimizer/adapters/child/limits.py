"""What a child does to itself before it begins: it dies with its parent, and takes no more than it may."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Mapping
from contextlib import suppress

STDIN = 0
FILES_MAX = 4096
CPU_GRACE_S = 5
OOM_SCORE = "1000"  # when memory runs out, the kernel takes the child, not the optimizer


def die_with_parent() -> None:
    """Leave a guard behind that kills this process group as soon as the parent has let go of our stdin.

    A process and not a thread, because a library that hangs may hold the interpreter's lock, and not
    PR_SET_PDEATHSIG, because that would spare whatever this child has started. To be called before anything else:
    the guard must not inherit threads.
    """
    if os.fork():
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, STDIN)
        os.close(null)
        return
    os.closerange(STDIN + 1, FILES_MAX)
    with suppress(OSError):
        while os.read(STDIN, 1):
            pass
    os.killpg(0, signal.SIGKILL)


def limit(limits: Mapping[str, int]) -> None:
    """Bound processor time and the size of files, of this process and of each that it will start."""
    cpu_s_max, file_bytes_max = limits["cpu_s_max"], limits["file_bytes_max"]
    _bound(resource.RLIMIT_CPU, cpu_s_max, cpu_s_max + CPU_GRACE_S)
    _bound(resource.RLIMIT_FSIZE, file_bytes_max, file_bytes_max)
    _bound(resource.RLIMIT_CORE, 0, 0)
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
        score.write(OOM_SCORE)


def _bound(what: int, soft: int, hard: int) -> None:
    """Set a limit, or keep what is bound more tightly already."""
    _, most = resource.getrlimit(what)
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    resource.setrlimit(what, (soft, hard))

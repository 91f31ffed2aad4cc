"""What a test may not leave behind: tasks, threads, child processes and TCP sockets."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from tests.harness.processes import Child

_GRACE_S = 3.0  # what was closed may still be closing
_POLL_S = 0.02
# grpc.aio keeps one poller thread for the process once it was used.
_THREADS_KEPT = ("_poll_wrapper",)


@dataclass(frozen=True, slots=True)
class Holdings:
    """Threads, direct child processes and TCP sockets of this process, each with words for the report."""

    threads: frozenset[str]
    children: frozenset[str]
    sockets: frozenset[str]

    @classmethod
    def now(cls) -> Holdings:
        """Return what this process has now, less what is allowed to stay."""
        process = psutil.Process()
        return cls(
            threads=frozenset(_threads()),
            children=frozenset(_children(process)),
            sockets=frozenset(_sockets(process)),
        )

    def beyond(self, before: Holdings) -> list[str]:
        """Return what is here and was not there before."""
        return sorted(
            (self.threads - before.threads)
            | (self.children - before.children)
            | (self.sockets - before.sockets)
        )


def leaked_since(before: Holdings) -> list[str]:
    """Return what was left behind, after some patience."""
    return _patiently(lambda: Holdings.now().beyond(before))


async def tasks_leaked_since(before: set[asyncio.Task[object]]) -> list[str]:
    """Return the tasks that still run, after some patience."""
    deadline = time.monotonic() + _GRACE_S
    while True:
        tasks = {task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()}
        if not tasks or time.monotonic() > deadline:
            return sorted(f"task {task.get_name()}: {task.get_coro()}" for task in tasks)
        await asyncio.sleep(_POLL_S)


def _patiently(leaked: Callable[[], list[str]]) -> list[str]:
    deadline = time.monotonic() + _GRACE_S
    found = leaked()
    while found and time.monotonic() < deadline:
        gc.collect()
        time.sleep(_POLL_S)
        found = leaked()
    return found


def _threads() -> list[str]:
    return [
        f"thread {thread.name} ({thread.ident})"
        for thread in threading.enumerate()
        if not any(kept in thread.name for kept in _THREADS_KEPT)
    ]


def _children(process: psutil.Process) -> list[str]:
    found = []
    for child in process.children():
        try:
            if child.pid not in Child.shared_pids:
                found.append(f"process {child.pid}: {' '.join(child.cmdline())[:200]}")
        except psutil.NoSuchProcess:
            continue
    return found


def _sockets(process: psutil.Process) -> list[str]:
    return [
        f"socket {link.fd}: {link.laddr} - {link.raddr} {link.status}"
        for link in process.net_connections(kind="tcp")
        if link.fd != -1
    ]

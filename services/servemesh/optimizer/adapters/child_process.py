"""Runs heavy steps in child processes with limits; a child that crashes is an error of its job and of nothing else."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from servemesh.errors import ServemeshError, UnavailableError
from servemesh.observe import names
from servemesh.optimizer.adapters import child_errors
from servemesh.optimizer.adapters.child import messages
from servemesh.optimizer.adapters.child_lines import ChildLines
from servemesh.optimizer.adapters.child_watch import ChildWatch, Ending, WatchLimits
from servemesh.optimizer.domain.work import WorkLimits
from servemesh.optimizer.service.ports import OnLog, OnProgress

CHILD = "servemesh.optimizer.adapters.child"
MESSAGE_BYTES_MAX = 256 * 1024

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSettings:
    """Bounds of all child processes. `environment` is all that they see of ours: what pip or CUDA need, no secrets."""

    processes_max: int = 2
    file_bytes_max: int = 16 * 1024**3
    disk_free_bytes_min: int = 1024**3
    answer_bytes_max: int = 16 * 1024**2
    stop_s_max: float = 2.0
    environment: Mapping[str, str] = field(default_factory=dict)
    more_tasks: Mapping[str, str] = field(default_factory=dict)  # name → module, beside child/tasks.py


class ChildProcesses:
    """Satisfies ports.ChildTasks. Open it with `async with ChildProcesses.running(settings) as children`."""

    def __init__(self, settings: ChildSettings, threads: ThreadPoolExecutor) -> None:
        self._settings = settings
        self._threads = threads
        self._places = asyncio.Semaphore(settings.processes_max)

    @classmethod
    @asynccontextmanager
    async def running(cls, settings: ChildSettings) -> AsyncIterator[ChildProcesses]:
        """Offer child processes for the length of the block; whoever leaves it has ended them all."""
        threads = ThreadPoolExecutor(settings.processes_max, "child")
        try:
            yield cls(settings, threads)
        finally:
            await asyncio.to_thread(threads.shutdown, cancel_futures=True)

    async def run(
        self,
        task: str,
        arguments: Mapping[str, Any],
        folder: Path,
        limits: WorkLimits,
        on_progress: OnProgress,
        on_log: OnLog,
    ) -> dict[str, Any]:
        """Run a task in `folder`; cancelled, it kills the child with all that it started before it returns."""
        request = {"task": task, "arguments": dict(arguments), "limits": self._own_limits(limits)}
        async with self._places:
            with _relaying(on_progress, on_log) as lines:
                watch = ChildWatch(
                    self._command(folder),
                    self._environment(folder, limits.threads),
                    folder,
                    self._watch_limits(limits),
                    lines,
                )
                ending = await self._ended(watch, partial(_worked, watch, folder, request))
        return await asyncio.to_thread(
            self._answer, folder, ending, child_errors.subject(task, arguments), limits
        )

    async def _ended(self, watch: ChildWatch, work: Callable[[], Ending]) -> Ending:
        running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        running.add_done_callback(_retrieved)
        try:
            return await asyncio.shield(running)
        finally:
            watch.stop()
            if not running.done():
                await asyncio.wait([running], timeout=self._settings.stop_s_max)

    def _answer(self, folder: Path, ending: Ending, subject: str, limits: WorkLimits) -> dict[str, Any]:
        told = None
        if ending.verdict is None and ending.status == 0:
            told = messages.to_error(messages.read(folder / messages.ERROR, MESSAGE_BYTES_MAX) or {})
            result = messages.read(folder / messages.RESULT, self._settings.answer_bytes_max)
            if told is None and result is not None:
                return result
        if told is None or told.reason == ServemeshError.reason:
            _log.warning(
                names.CHILD_ENDED_BADLY,
                extra={
                    "subject": subject,
                    "status": ending.status,
                    "verdict": ending.verdict.value if ending.verdict else "",
                    "detail": ending.last_words,
                },
            )
        raise (
            child_errors.of_told(told, subject, limits)
            if told
            else child_errors.of_ending(ending, subject, limits)
        )

    def _command(self, folder: Path) -> list[str]:
        # -P and -s: what is imported is what is installed, whatever lies in the work folder or the home.
        tasks = [f"{name}={module}" for name, module in self._settings.more_tasks.items()]
        return [sys.executable, "-X", "faulthandler", "-P", "-s", "-m", CHILD, str(folder.absolute()), *tasks]

    def _environment(self, folder: Path, threads: int) -> dict[str, str]:
        return {
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            "TMPDIR": str(folder.absolute() / messages.TEMPORARY),
            "PYTHONHASHSEED": "0",  # the order of sets must not change what a pass makes
            "OMP_NUM_THREADS": str(threads),
            "OPENBLAS_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            **self._settings.environment,
        }

    def _own_limits(self, limits: WorkLimits) -> dict[str, int]:
        return {
            "cpu_s_max": math.ceil(limits.time_s * limits.threads),
            "file_bytes_max": self._settings.file_bytes_max,
        }

    def _watch_limits(self, limits: WorkLimits) -> WatchLimits:
        return WatchLimits(
            time_s=limits.time_s,
            memory_bytes=limits.memory_bytes,
            disk_free_bytes_min=self._settings.disk_free_bytes_min,
        )


def _worked(watch: ChildWatch, folder: Path, request: Mapping[str, Any]) -> Ending:
    """Run a child to its end, in a thread."""
    for left in (messages.RESULT, messages.ERROR):
        (folder / left).unlink(missing_ok=True)
    (folder / messages.TEMPORARY).mkdir(exist_ok=True)
    messages.write(folder / messages.REQUEST, request)
    try:
        return watch.run()
    except OSError as error:
        raise UnavailableError(
            "a child process could not be started; try again", reason="CHILD_NOT_STARTED"
        ) from error
    finally:
        shutil.rmtree(folder / messages.TEMPORARY, ignore_errors=True)


@contextmanager
def _relaying(on_progress: OnProgress, on_log: OnLog) -> Iterator[ChildLines]:
    """Hand what a thread is told on to the event loop, until the block is left."""
    loop, is_open = asyncio.get_running_loop(), True

    def relayed(tell: Callable[..., None]) -> Callable[..., None]:
        def told(*said: Any) -> None:
            if is_open:
                tell(*said)

        def called(*said: Any) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody listens any more
                loop.call_soon_threadsafe(told, *said)

        return called

    try:
        yield ChildLines(relayed(on_progress), relayed(on_log))
    finally:
        is_open = False


def _retrieved(running: asyncio.Future[Ending]) -> None:
    """Look at the error of a child that nobody waits for any more."""
    if not running.cancelled():
        running.exception()

"""Watches one child process from a thread: reads what it says, and ends it when it takes more than it may."""

from __future__ import annotations

import os
import selectors
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from servemesh.optimizer.adapters.child_lines import ChildLines
from servemesh.optimizer.adapters.process_group import ProcessGroup

SAMPLE_S = 0.1
DRAIN_S = 1.0
CHUNK_BYTES = 64 * 1024
LAST_WORDS_BYTES = 4096  # what the log keeps of a child that ended badly


class Verdict(Enum):
    """Why we ended a child."""

    STOPPED = "stopped"
    TIME = "time"
    MEMORY = "memory"
    DISK = "disk"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchLimits:
    """What one child may take. Processor time and the size of files it bounds itself."""

    time_s: float
    memory_bytes: int
    disk_free_bytes_min: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a child ended. `status` is negative if a signal ended it; `verdict` is None if we did not."""

    status: int
    verdict: Verdict | None
    memory_bytes: int
    last_words: str


class ChildWatch:
    """One child with all that it starts, which is one process group. `run` blocks; `stop` may come from anywhere."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        limits: WatchLimits,
        lines: ChildLines,
    ) -> None:
        self._command = command
        self._environment = environment
        self._folder = folder
        self._limits = limits
        self._lines = lines
        self._stopped = threading.Event()
        self._waking = threading.Lock()
        self._waker: int | None = None
        self._memory_bytes = 0
        self._last_words = b""

    def stop(self) -> None:
        """Have the child ended at once."""
        self._stopped.set()
        with self._waking:
            if self._waker is not None:
                os.write(self._waker, b".")

    def run(self) -> Ending:
        """Start the child and return how it ended; what is left of its group has been killed then."""
        wake, waker = os.pipe()
        with self._waking:
            self._waker = waker
        try:
            return self._run(wake)
        finally:
            with self._waking:
                self._waker = None
            os.close(wake)
            os.close(waker)

    def _run(self, wake: int) -> Ending:
        # Not asyncio's subprocesses: uvloop runs the fork handlers of Python, and OpenTelemetry's start threads,
        # which now and then kills the child between fork and exec.
        child = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,  # nothing is ever written: its end tells the child that we are gone
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=dict(self._environment),
            cwd=self._folder,
        )
        group = ProcessGroup(child.pid)
        with child, selectors.DefaultSelector() as selector:
            for stream in (child.stdout, child.stderr):
                assert stream is not None
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, selectors.EVENT_READ, stream is child.stdout)
            selector.register(wake, selectors.EVENT_READ)
            try:
                verdict = self._watched(child, group, selector)
            finally:
                group.kill()  # its leader is not waited for yet, so the group's number is still its own
                self._drain(selector)
                status = child.wait()
        return Ending(
            status=status,
            verdict=verdict,
            memory_bytes=self._memory_bytes,
            last_words=self._last_words.decode(errors="replace"),
        )

    def _watched(
        self, child: subprocess.Popen[bytes], group: ProcessGroup, selector: selectors.BaseSelector
    ) -> Verdict | None:
        """Return when the child has ended, or when it has to."""
        start_s = time.monotonic()
        sampled_s = start_s
        while not _has_ended(child):
            self._read(selector, SAMPLE_S)
            self._lines.tell()
            now_s = time.monotonic()
            if self._stopped.is_set():
                return Verdict.STOPPED
            if now_s - start_s > self._limits.time_s:
                return Verdict.TIME
            if now_s - sampled_s >= SAMPLE_S:
                sampled_s = now_s
                verdict = self._sampled(group, now_s)
                if verdict is not None:
                    return verdict
        return None

    def _sampled(self, group: ProcessGroup, now_s: float) -> Verdict | None:
        held_bytes = group.memory_bytes(now_s)
        self._memory_bytes = max(self._memory_bytes, held_bytes)
        if held_bytes > self._limits.memory_bytes:
            return Verdict.MEMORY
        if shutil.disk_usage(self._folder).free < self._limits.disk_free_bytes_min:
            return Verdict.DISK
        return None

    def _read(self, selector: selectors.BaseSelector, timeout_s: float) -> bool:
        """Read what there is; whether there was anything before `timeout_s` passed."""
        ready = selector.select(timeout_s)
        for key, _ in ready:
            if key.data is None:
                selector.unregister(key.fileobj)  # `stop` was called: once is enough
                continue
            chunk = b""
            with suppress(BlockingIOError):
                chunk = os.read(key.fd, CHUNK_BYTES)
            if not chunk:
                selector.unregister(key.fileobj)
            elif key.data:
                self._lines.feed(chunk)
            else:
                self._last_words = (self._last_words + chunk)[-LAST_WORDS_BYTES:]
        return bool(ready)

    def _drain(self, selector: selectors.BaseSelector) -> None:
        """Read the rest; a process that left the group may hold the pipes open, so not for ever."""
        until_s = time.monotonic() + DRAIN_S
        while _has_pipes(selector) and (left_s := until_s - time.monotonic()) > 0:
            self._read(selector, left_s)
        self._lines.tell(finally_=True)


def _has_pipes(selector: selectors.BaseSelector) -> bool:
    """Whether the child, or what it started, can still say something."""
    return any(key.data is not None for key in selector.get_map().values())


def _has_ended(child: subprocess.Popen[bytes]) -> bool:
    """Whether the child has ended, without waiting for it: until then nobody else can get its number."""
    return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

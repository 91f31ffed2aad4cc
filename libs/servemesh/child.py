"""One question to a child process: bounded in time and in what it says, ended with whoever asked."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO

LAST_WORDS_BYTES = 4096  # what is kept of its stderr
CHUNK_BYTES = 64 * 1024
DRAIN_S = 2.0  # what left its process group may hold its pipes open, so they are not read for ever
KILLED_S = 10.0  # for the memory of a process that was killed to be given back; its end is awaited no longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """How a child ended. `status` is negative if a signal ended it; `answer` is its stdout.

    A child whose answer grows too long is killed, and its answer is empty.
    """

    status: int
    answer: bytes
    last_words: str


async def asked(
    command: Sequence[str],
    question: bytes = b"",
    *,
    timeout_s: float,
    answer_bytes_max: int = 0,
    environment: Mapping[str, str] | None = None,
) -> Reply:
    """Return what the command answers to `question` on its stdin. OSError if it does not start, TimeoutError if late.

    What it started ends with it, unless that left its process group.
    """
    child = _started(command, question, environment)
    assert child.stdout is not None
    assert child.stderr is not None
    answer, last_words = bytearray(), bytearray()

    def keep(chunk: bytes) -> None:
        answer.extend(chunk[: answer_bytes_max + 1 - len(answer)])
        if len(answer) > answer_bytes_max:
            _kill_group(child.pid)

    def keep_last(chunk: bytes) -> None:
        last_words.extend(chunk)
        del last_words[:-LAST_WORDS_BYTES]

    with child.stdout, child.stderr:
        try:
            with (
                _ending(child.pid) as ended,
                _reading(child.stdout, keep if answer_bytes_max else _ignore) as told,
                _reading(child.stderr, keep_last) as wept,
            ):
                try:
                    async with asyncio.timeout(timeout_s):
                        await ended.wait()
                finally:
                    _kill_group(child.pid)
                    await _within(KILLED_S, ended)
                await _within(DRAIN_S, told, wept)
        finally:
            _kill_group(child.pid)
            status = child.poll()
    assert status is not None, "it has ended, or this is not reached"
    return Reply(
        status=status,
        answer=bytes(answer) if len(answer) <= answer_bytes_max else b"",
        last_words=last_words.decode(errors="replace"),
    )


def _started(
    command: Sequence[str], question: bytes, environment: Mapping[str, str] | None
) -> subprocess.Popen[bytes]:
    with os.fdopen(os.memfd_create("question"), "w+b") as stdin:
        stdin.write(question)
        stdin.seek(0)
        # Not asyncio's subprocesses: uvloop forks, which runs the fork handlers of everybody in this process. Those of
        # gRPC and OpenTelemetry start threads in the child, which killed one in ten of them before its exec.
        return subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=environment,
        )


@contextmanager
def _ending(pid: int) -> Iterator[asyncio.Event]:
    """Give what is set once a child has ended; it is a zombie then, so that its number stays its own."""
    ended = asyncio.Event()
    descriptor = os.pidfd_open(pid)
    try:
        with _watched(descriptor, ended.set):
            yield ended
    finally:
        os.close(descriptor)


@contextmanager
def _reading(pipe: IO[bytes], keep: Callable[[bytes], None]) -> Iterator[asyncio.Event]:
    """Hand on what comes; give what is set at the end of it.

    Not the transports of the loop: uvloop's close a pipe's number twice, and by then it may be somebody else's.
    """
    over = asyncio.Event()

    def read() -> None:
        with suppress(BlockingIOError):
            chunk = os.read(pipe.fileno(), CHUNK_BYTES)
            if chunk:
                keep(chunk)
            else:
                over.set()
                asyncio.get_running_loop().remove_reader(pipe.fileno())

    os.set_blocking(pipe.fileno(), False)
    with _watched(pipe.fileno(), read):
        yield over


@contextmanager
def _watched(descriptor: int, ready: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, ready)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)


def _ignore(_: bytes) -> None:
    pass


async def _within(span_s: float, *events: asyncio.Event) -> None:
    """Return once all have happened, or the time has passed."""
    with suppress(TimeoutError):
        async with asyncio.timeout(span_s):
            for event in events:
                await event.wait()


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)

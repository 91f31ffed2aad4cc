"""One question to a child process: bounded in time and in what it says, ended with whoever asked."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import IO

LAST_WORDS_BYTES = 4096  # what is kept of its stderr
CHUNK_BYTES = 64 * 1024
DRAIN_S = 2.0  # what left its process group may hold its pipes open, so they are not read for ever


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """How a child ended. `status` is negative if a signal ended it; `answer` is its stdout, empty if too long."""

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
    with tempfile.TemporaryFile() as stdin:
        stdin.write(question)
        stdin.seek(0)
        # Not asyncio's subprocesses: uvloop forks, which runs the fork handlers of everybody in this process. Those of
        # gRPC and OpenTelemetry start threads in the child, which killed one in ten of them before its exec.
        child = subprocess.Popen(  # noqa: ASYNC220 - vfork: milliseconds
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=environment,
        )
    assert child.stdout is not None
    assert child.stderr is not None
    answer, last_words = bytearray(), bytearray()
    try:
        async with asyncio.timeout(timeout_s), asyncio.TaskGroup() as group:
            readers = (
                group.create_task(_first_bytes(child.stdout, answer, answer_bytes_max + 1)),
                group.create_task(_last_bytes(child.stderr, last_words, LAST_WORDS_BYTES)),
            )
            await _ended(child.pid)
            _kill_group(child.pid)
            await asyncio.wait(readers, timeout=DRAIN_S)
            for reader in readers:
                reader.cancel()
    finally:
        _kill_group(child.pid)
        status = child.wait()  # after SIGKILL: at once
    return Reply(
        status=status,
        answer=bytes(answer) if len(answer) <= answer_bytes_max else b"",
        last_words=last_words.decode(errors="replace"),
    )


async def _first_bytes(pipe: IO[bytes], kept: bytearray, count: int) -> None:
    """Keep the first `count` bytes, and read the rest all the same."""
    async with _reading(pipe) as reader:
        while chunk := await reader.read(CHUNK_BYTES):
            kept += chunk[: count - len(kept)]


async def _last_bytes(pipe: IO[bytes], kept: bytearray, count: int) -> None:
    """Keep the last `count` bytes."""
    async with _reading(pipe) as reader:
        while chunk := await reader.read(CHUNK_BYTES):
            kept += chunk
            del kept[:-count]


@asynccontextmanager
async def _reading(pipe: IO[bytes]) -> AsyncIterator[asyncio.StreamReader]:
    """Read a pipe on the event loop, and close it afterwards."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        yield reader
    finally:
        transport.close()


async def _ended(pid: int) -> None:
    """Wait until a child has ended; it is a zombie then, so that its number stays its own."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    descriptor = os.pidfd_open(pid)
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)

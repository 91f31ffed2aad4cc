"""Child processes of tests: started on demand, their output kept, never left behind."""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from tests.harness.waiting import blocking_until


class Child:
    """One program that can be started, stopped, killed and started again. Its output goes to a file.

    `shared` children belong to the test session and may outlive the test that started them.
    """

    shared_pids: ClassVar[set[int]] = set()

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: int | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        stop_timeout_s: float = 30.0,
        shared: bool = False,
    ) -> None:
        self._command = [str(part) for part in command]
        self._log = log
        self._env = dict(env) if env is not None else None
        self._cwd = cwd
        self._user = user
        self._stop_signal = stop_signal
        self._stop_timeout_s = stop_timeout_s
        self._shared = shared
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the run under way."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the program runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def output(self) -> str:
        """What all runs so far wrote to stdout and stderr."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self) -> None:
        """Start the program; `wait_ready` then waits for it."""
        assert not self.is_running
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                cwd=self._cwd,
                user=self._user,
                group=self._user,
                extra_groups=None if self._user is None else [],
            )
        if self._shared:
            Child.shared_pids.add(self._process.pid)

    def wait_ready(self, ready: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Wait for a condition; AssertionError with the program's output if it ends or takes too long."""
        try:
            blocking_until(lambda: not self.is_running or ready(), timeout_s, f"{self._command[0]} is ready")
            assert self.is_running, f"{self._command[0]} ended"
        except AssertionError as error:
            self.stop()
            raise AssertionError(f"{error}; its output ends with:\n{self.output[-4000:]}") from None

    def wait(self, timeout_s: float = 30.0) -> int:
        """Wait for the program to end by itself; return its exit status."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def send(self, number: signal.Signals) -> None:
        """Send a signal, as SIGSTOP."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> int | None:
        """Ask the program to end, kill it if it does not in time; return its exit status."""
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._process.send_signal(self._stop_signal)
            self._process.send_signal(signal.SIGCONT)
            try:
                self._process.wait(self._stop_timeout_s)
            except subprocess.TimeoutExpired:
                self.kill()
        Child.shared_pids.discard(self._process.pid)
        return self._process.returncode

    def kill(self) -> None:
        """End the program at once, as kill -9 does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)
        Child.shared_pids.discard(self._process.pid)


def free_ports(count: int) -> list[int]:
    """Return free ports of 127.0.0.1, below those that the kernel gives to clients."""
    found: list[int] = []
    with contextlib.ExitStack() as stack:
        while len(found) < count:
            port = random.randrange(
                10_000, 13_000
            )  # weed also takes the one 10,000 above; meshes start at 13,000
            listener = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                listener.bind(("127.0.0.1", port))
                found.append(port)
    return found


def accepts(port: int) -> bool:
    """Whether something on 127.0.0.1 takes connections on `port`."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False

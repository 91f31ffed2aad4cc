"""The process that supervises the local mesh, as `servemesh up` starts and watches it."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from servemesh.client import Client, RetryPolicy
from servemesh.errors import ConflictError, ServemeshError
from servemesh.local.adapters.data_dir import DataDir
from servemesh.local.domain.processes import MeshStatus
from servemesh.local.settings import supervisor_environment
from servemesh.parent_death import die_with_parent

_PROBE_S = 1.0
_NEEDED = (
    "envoy",
    "xds",
    "sqlalchemy",
    "onnxruntime",
    "nats",
    "minio",
    "prometheus_client",
    "uvloop",
    "uvicorn",
)
"""What the processes of a mesh import and the CLI alone does not."""


class SupervisorProcess:
    """One run of `python -m servemesh.local.main` on a data folder."""

    def __init__(self, data_dir: Path, *, detached: bool) -> None:
        self._folder = DataDir(data_dir)
        self._detached = detached
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def log_dir(self) -> Path:
        """Where the logs of the mesh lie."""
        return self._folder.logs

    def start(
        self,
        *,
        workers: int,
        workers_max: int,
        port: int,
        http_port: int,
        console_port: int,
        metrics_port: int,
    ) -> None:
        """Start it in a session of its own, so that a Ctrl-C at the terminal reaches only us."""
        _check_installed()
        try:
            for folder in (self._folder.path, self.log_dir):  # the mode is for the last folder of a path only
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConflictError(
                f"the data folder {self._folder.path} cannot be used: {error.strerror}; "
                "name another one with --data-dir",
                reason="DATA_DIR_UNUSABLE",
            ) from None
        parent = os.getpid()
        with self._log.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "servemesh.local.main"],
                env=supervisor_environment(
                    data_dir=self._folder.path,
                    workers=workers,
                    workers_max=workers_max,
                    port=port,
                    http_port=http_port,
                    console_port=console_port,
                    metrics_port=metrics_port,
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                # In the foreground the mesh ends with this command, even if that is killed.
                preexec_fn=None if self._detached else lambda: die_with_parent(parent, signal.SIGTERM),
            )

    def find_status(self) -> MeshStatus | None:
        """Return what this supervisor last said; None before its first word."""
        found = self._folder.find_status()
        return found if found is not None and found.pid == self._running.pid else None

    def answers(self, address: str) -> bool:
        """Whether the mesh at `address` says that it is ready."""
        try:
            with Client(address, retry=RetryPolicy(attempts_max=1)) as client:
                found = client.status(timeout_s=_PROBE_S)
        except ServemeshError:
            return False
        return found.ready and not found.away

    def has_ended(self) -> bool:
        """Whether the supervisor has ended."""
        return self._running.poll() is not None

    def refusal(self) -> ServemeshError:
        """Return why it ended, in its own words."""
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            text = log.read().decode("utf-8", "replace")
        words = [line for line in text.splitlines() if line and not line.startswith(("{", " ", "Traceback"))]
        message = "\n".join(words) if words else f"the supervisor ended; its log is {self._log}"
        return ConflictError(message, reason="MESH_NOT_STARTED")

    def wait(self) -> int:
        """Return its exit status once it has ended."""
        return self._running.wait()

    def terminate(self) -> None:
        """Have it drain and end the mesh."""
        with suppress(ProcessLookupError):
            self._running.terminate()

    def kill(self) -> None:
        """End it, and with it every process of the mesh, at once."""
        with suppress(ProcessLookupError):
            self._running.kill()

    @property
    def _log(self) -> Path:
        return self.log_dir / "supervisor.log"

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "start() comes first"
        return self._process


def _check_installed() -> None:
    """ConflictError where only the SDK and the CLI are installed."""
    for package in _NEEDED:
        try:
            found = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            found = None
        if found is None:
            raise ConflictError(
                "the mesh itself is not installed here, only its command; install it with "
                "`pip install 'servemesh[local]'`, or use a mesh elsewhere with --address HOST:PORT",
                reason="MESH_NOT_INSTALLED",
                package=package,
            )

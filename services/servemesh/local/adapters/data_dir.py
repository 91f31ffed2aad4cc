"""The data folder of a local mesh: its lock, its secrets, the ports of last time, and runtime.json."""

from __future__ import annotations

import fcntl
import json
import os
import secrets as random_secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from servemesh.local.domain.layout import Secrets
from servemesh.local.domain.processes import MeshStatus, ProcessStatus, State

RUNTIME = "runtime.json"


class DataDirBusyError(Exception):
    """Another supervisor runs on this data folder."""


class DataDir:
    """One folder that one supervisor at a time may use."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.logs = path / "logs"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder. DataDirBusyError while a living supervisor has it; a dead one's lock is gone."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.logs.mkdir(exist_ok=True)
        with (self.path / "lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise DataDirBusyError(lock.read().strip() or "unknown") from None
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            yield

    def is_locked(self) -> bool:
        """Whether a living supervisor has the folder."""
        try:
            with (self.path / "lock").open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def secrets(self) -> Secrets:
        """Return the key of the object store, making it at first use."""
        path = self.path / "secrets.json"
        try:
            found = json.loads(path.read_text())
        except FileNotFoundError:
            found = {
                "access_key": random_secrets.token_hex(10),
                "secret_key": random_secrets.token_urlsafe(30),
            }
            self.write(path, json.dumps(found))
        return Secrets(access_key=found["access_key"], secret_key=found["secret_key"])

    def ports(self) -> dict[str, int]:
        """Return the ports of last time, by name."""
        try:
            found = json.loads((self.path / "ports.json").read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return {str(name): int(port) for name, port in found.items()}

    def keep_ports(self, ports: Mapping[str, int]) -> None:
        """Remember the ports for next time."""
        self.write(self.path / "ports.json", json.dumps(dict(ports), indent=1))

    def write(self, path: Path, text: str) -> None:
        """Put `text` in the place of `path` at once, readable by nobody else."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.draft")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        draft.replace(path)

    def keep_status(self, status: MeshStatus) -> None:
        """Write runtime.json."""
        self.write(self.path / RUNTIME, json.dumps(asdict(status), indent=1))

    def find_status(self) -> MeshStatus | None:
        """Return what runtime.json says; None if no mesh was ever started here."""
        try:
            found = json.loads((self.path / RUNTIME).read_text())
        except (FileNotFoundError, ValueError):
            return None
        processes = tuple(
            ProcessStatus(**{**process, "state": State(process["state"])}) for process in found["processes"]
        )
        return MeshStatus(**{**found, "state": State(found["state"]), "processes": processes})

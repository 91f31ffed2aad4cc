"""The mesh under test, seen from outside: whether it serves, whether it takes changes, and what it must not lose."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from examples.demo.models import Digits
from servemesh.client import Client
from servemesh.errors import ServemeshError
from tests.compose.engine import Stack, until
from tests.compose.load import push_something

MODEL = "digits"
LEDGER, PUSHED = "ledger", "pushed"
PULLED = 20
"""Of each model so many Versions are fetched back when something may have been lost."""
SETTLE_S = 90.0


@dataclass(slots=True)
class Mesh:
    """The mesh under test and what it must not lose."""

    stack: Stack
    digits: Digits
    folder: Path
    client: Client
    versions: dict[str, list[int]] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)

    @property
    def row(self) -> np.ndarray:
        """One digit that the model has not seen."""
        return np.asarray(self.digits.images[:1])

    @property
    def right(self) -> int:
        """What it is, as the model on this machine says."""
        return int(self.client.infer(MODEL, {"image": self.row})["label"][0])

    def ready_workers(self) -> int:
        """Return how many workers the mesh has."""
        try:
            status = self.client.status(timeout_s=5.0)
        except ServemeshError:
            return 0
        return len(status.workers) if status.ready and not status.away else 0

    def until_workers(self, count: int) -> float:
        """Wait until the mesh has just so many workers; return how long it took."""
        start_s = time.monotonic()
        until(
            lambda: self.ready_workers() == count,
            SETTLE_S,
            lambda: f"{self.ready_workers()} workers, not {count}",
        )
        return time.monotonic() - start_s

    def until_served(self) -> float:
        """Wait until both edges answer rightly; return how long it took."""
        start_s = time.monotonic()
        until(self._is_served, SETTLE_S, lambda: "calls are not answered at both edges")
        return time.monotonic() - start_s

    def lost(self) -> list[str]:
        """Return what was acknowledged once and is there no more."""
        missing = []
        for model, versions in self.versions.items():
            there = {version.version for version in self.client.versions(model)}
            missing += [f"{model}@{version}" for version in versions if version not in there]
            for version in versions[-PULLED:]:
                with tempfile.TemporaryDirectory() as folder:
                    self.client.pull(model, folder, version=version)  # compares every byte with its digest
        there = {alias.alias: alias.version for alias in self.client.aliases(LEDGER)}
        return missing + [name for name, version in self.aliases.items() if there.get(name) != version]

    def until_changed(self) -> None:
        """Wait until a push succeeds."""

        def pushed() -> bool:
            try:
                version = push_something(self.client, PUSHED, timeout_s=20.0)
            except ServemeshError:
                return False
            self.versions.setdefault(PUSHED, []).append(version)
            return True

        until(pushed, SETTLE_S, lambda: "no push succeeds any more")

    def _is_served(self) -> bool:
        for address in self.stack.addresses:
            try:
                with Client(address) as client:
                    client.infer(MODEL, {"image": self.row}, timeout_s=2.0)
            except ServemeshError:
                return False
        return True

"""What is done to a mesh, in a random order: processes killed, stopped and ended, and what callers do wrong."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from chaos.callers import Strangers
from tests.harness.faults import FaultMesh
from tests.harness.steady_load import Call
from tests.harness.waiting import blocking_until

STOPPED_S = 3.0
BACK_S = 60.0
SLACK_S = 1.0


@dataclass(frozen=True, slots=True)
class Outage:
    """A stretch of time in which nobody could answer: the only Envoy was away."""

    start_s: float
    end_s: float

    def excuses(self, call: Call) -> bool:
        """Whether a call failed because it met the outage: nobody was there, or nobody answered in time."""
        met = call.start_s <= self.end_s and call.end_s >= self.start_s
        return met and call.fault.startswith(("UNAVAILABLE", "DEADLINE_EXCEEDED"))


class Harms:
    """Does one harm after the other, and waits each time until the mesh is whole.

    Half of the processes are spared in the first half of the time, the others in the second: what grows in a process
    shows in a long life only.
    """

    def __init__(self, mesh: FaultMesh, strangers: Strangers, chance: random.Random) -> None:
        self._mesh = mesh
        self._strangers = strangers
        self._chance = chance
        self.outages: list[Outage] = []
        self.done: list[str] = []
        self.failed: str = ""
        self._second_half_s = 0.0
        self._in_halves = chance.sample(sorted(mesh.processes), len(mesh.processes))
        # One worker at least on each side.
        self._in_halves.sort(key=mesh.workers.__contains__)

    def run_until(self, end_s: float, stopping: threading.Event) -> None:
        """Do harm until then."""
        self._second_half_s = (time.monotonic() + end_s) / 2
        while time.monotonic() < end_s and not stopping.is_set() and not self.failed:
            harm = self._chance.choice([self._process_dies] * 2 + [self._process_hangs] + [self._callers] * 3)
            try:
                harm()
            except AssertionError as error:
                self.failed = f"{self.done[-1] if self.done else harm.__name__}: {error}"
            stopping.wait(self._chance.uniform(1, 10))

    def _process_dies(self) -> None:
        names = self._some()
        number = self._chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
        with self._told(f"{number.name} {' and '.join(names)}", names):
            self._mesh.until_back(self._mesh.kill(*names, number=number))

    def _process_hangs(self) -> None:
        (name,) = self._some(most=1)
        with self._told(f"SIGSTOP {name} for {STOPPED_S:g} s", [name]), self._mesh.stopped(name):
            time.sleep(STOPPED_S)

    def _callers(self) -> None:
        harm: Callable[[], str] = self._chance.choice(self._strangers.all)
        self.done.append(harm())

    def _some(self, most: int = 2) -> list[str]:
        """One process, seldom two of which one is a worker: another worker always stays."""
        half = int(time.monotonic() >= self._second_half_s)
        processes = self._in_halves[half::2]
        names = [self._chance.choice(processes)]
        if most > 1 and self._chance.random() < 0.2:
            names.append(self._chance.choice(sorted(set(processes) & set(self._mesh.workers))))
        return sorted(set(names))

    @contextmanager
    def _told(self, what: str, names: list[str]) -> Iterator[None]:
        self.done.append(what)
        start_s = time.monotonic()
        try:
            yield
            blocking_until(lambda: bool(self._mesh.mesh.status()["ready"]), BACK_S, f"whole after {what}")
        finally:
            if "envoy" in names:
                self.outages.append(Outage(start_s - SLACK_S, time.monotonic() + SLACK_S))

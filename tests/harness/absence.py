"""What becomes of the calls for a worker that is away: when they stop going there, and when they come again."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.harness.faults import HEAL_S, FaultMesh
from tests.harness.waiting import blocking_until

ANSWER_S = 0.5


class Absence:
    """One absence of a worker as Envoy's counters of its endpoint show it, from the moment that this is made."""

    def __init__(self, mesh: FaultMesh, address: str) -> None:
        self._mesh = mesh
        self._address = address
        self._start_s = time.monotonic()
        self._sent_s: list[float] = []
        self._counts = mesh.counts_of(address)

    @property
    def last_call_s(self) -> float:
        """From the beginning to the last call that was sent there in vain."""
        return self._sent_s[-1] - self._start_s if self._sent_s else 0.0

    def look_until(self, is_over: Callable[[], bool], timeout_s: float = HEAL_S) -> None:
        """Look on until the worker could take calls again."""

        def looked() -> bool:
            self._has_answered()
            return is_over()

        blocking_until(looked, timeout_s, "the absence is over")

    def look_for(self, duration_s: float) -> None:
        """Look on for so long."""
        until_s = time.monotonic() + duration_s
        self.look_until(lambda: time.monotonic() > until_s, duration_s + 1)

    def until_answers(self) -> float:
        """Wait until it has answered a call that came through Envoy; return how long that took."""
        start_s = time.monotonic()
        blocking_until(self._has_answered, HEAL_S, f"{self._address} answers calls again")
        return time.monotonic() - start_s

    def _has_answered(self) -> bool:
        """Whether it has answered a call since the last look. Calls that were not answered are in vain."""
        (sent, answered), self._counts = self._counts, self._mesh.counts_of(self._address)
        sent, answered = self._counts[0] - sent, self._counts[1] - answered
        self._sent_s += [time.monotonic()] * max(0, sent)
        if answered > 0:  # what is back answers the latest calls, or is about to
            since_s = time.monotonic() - ANSWER_S
            self._sent_s = [sent_s for sent_s in self._sent_s if sent_s < since_s]
        return answered > 0

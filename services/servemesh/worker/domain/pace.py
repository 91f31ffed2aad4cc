"""How long runs of one model take, learned from those that ended: is the next one tiny?"""

from __future__ import annotations

from collections import deque

SAMPLES = 16
# Runs in threads look longer than they are when the interpreter is busy, so the quick ones are believed.
BELIEVED = 3
SURPRISE = 4.0
STOPS_MAX = 3


class Pace:
    """Knows a run to be tiny when a quarter of the latest runs, scaled to its size, took `tiny_s` at most."""

    __slots__ = ("_latest", "_stops", "_tiny_s", "_typical")

    def __init__(self, tiny_s: float) -> None:
        self._tiny_s = tiny_s
        self._stops = 0
        self._latest: deque[tuple[float, int]] = deque(maxlen=SAMPLES)
        self._typical: tuple[float, int] | None = None

    def ran(self, size_bytes: int, duration_s: float) -> None:
        """Learn from a run that took inputs of that size."""
        self._latest.append((duration_s, size_bytes))
        if len(self._latest) == SAMPLES:
            self._typical = sorted(self._latest)[BELIEVED]

    def ran_here(self, size_bytes: int, duration_s: float) -> None:
        """Learn from a run that was taken for tiny; one that was far from it makes us learn anew."""
        if duration_s > SURPRISE * self._tiny_s:
            self._forget()
        else:
            self.ran(size_bytes, duration_s)

    def stopped(self) -> None:
        """Learn from a run that was taken for tiny and had to be stopped. The third time is the last."""
        self._stops += 1
        self._forget()

    def is_tiny(self, size_bytes: int) -> bool:
        """Whether a run with inputs of that size is known to be tiny; larger inputs take longer in proportion."""
        if self._typical is None or self._stops >= STOPS_MAX:
            return False
        duration_s, typical_bytes = self._typical
        return duration_s * max(1.0, size_bytes / max(1, typical_bytes)) <= self._tiny_s

    def _forget(self) -> None:
        self._latest.clear()
        self._typical = None

"""Figures of the scale study: what, how much, of which unit, and what it comes to."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table. `meaning` says what follows from it."""

    what: str
    value: float
    unit: str
    meaning: str = ""

    def __str__(self) -> str:
        digits = 0 if self.value >= 100 else 1 if self.value >= 10 else 2
        return f"| {self.what} | {self.value:,.{digits}f} {self.unit} | {self.meaning} |"


def timed_ms(work: Callable[[], object], times: int = 5) -> float:
    """Return the median processor time of some runs, in milliseconds: others may use the machine too."""
    spent = []
    for _ in range(times):
        start_s = time.process_time()
        work()
        spent.append(time.process_time() - start_s)
    return statistics.median(spent) * 1e3

"""Duties that one registry of several does at a time, and Leases: both run out by this process's own clock.

Neither compares wall clocks. A holder counts up; whoever has watched a count stand still for the whole term
knows that the holder is gone. So a clock that jumps ends nothing, and nothing ends before a watcher that has
just started has watched for one full term.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """Who does it: `epoch` counts holders, `beat` counts the signs of life of this one."""

    name: str
    holder: str
    epoch: int
    beat: int


class StandstillWatch:
    """Remembers since when each count has stood still."""

    def __init__(self, term_s: float) -> None:
        self._term_s = term_s
        self._seen: dict[str, tuple[Hashable, float]] = {}

    def stalled(self, counts: Mapping[str, Hashable], now_s: float) -> list[str]:
        """The keys whose count has not changed for a whole term, given what each counts now."""
        self._seen = {
            key: self._seen[key] if key in self._seen and self._seen[key][0] == count else (count, now_s)
            for key, count in counts.items()
        }
        return sorted(key for key, (_, since_s) in self._seen.items() if now_s - since_s >= self._term_s)

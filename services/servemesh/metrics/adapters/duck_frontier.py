"""Before which time everything is rolled up: what lies before need not be looked for in finer tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from servemesh.metrics.domain.coverage import Held, Resolution

FAR_MS = 1 << 62


class Reach(NamedTuple):
    """What a reader goes by: since when points and minutes are kept, and before when they are all rolled up."""

    held: Held
    raw_ms: int
    minute_ms: int

    def is_rolled_up(self, resolution: Resolution, until_ms: int) -> bool:
        """Whether the next coarser resolution has all rows before that time."""
        return until_ms <= (self.raw_ms if resolution is Resolution.RAW else self.minute_ms)


@dataclass(slots=True)
class Frontier:
    """Lower bounds of the times of rows that are not rolled up; 0, which is always right, until they are known.

    Only the writer moves them: down before rows can be seen that lie lower, up after a roll-up is committed. So a
    reader that takes them before it begins misses no row that was there then.
    """

    raw_ms: int = 0
    minute_ms: int = 0

    def appended(self, earliest_ms: int) -> None:
        """Points are about to be stored."""
        self.raw_ms = min(self.raw_ms, earliest_ms)

    def rolling_up(self) -> None:
        """Minutes are about to be made of the points that are not rolled up."""
        self.minute_ms = min(self.minute_ms, self._made_ms)

    def rolled_up(self, until_ms: Mapping[Resolution, int]) -> None:
        """All rows before these times are rolled up that were there; the minutes made wait for the next time."""
        made_ms = self._made_ms if Resolution.RAW in until_ms else FAR_MS
        if Resolution.MINUTE in until_ms:
            self.minute_ms = min(until_ms[Resolution.MINUTE], made_ms)
        self.raw_ms = until_ms.get(Resolution.RAW, self.raw_ms)

    @property
    def _made_ms(self) -> int:
        return self.raw_ms // int(Resolution.MINUTE) * int(Resolution.MINUTE)

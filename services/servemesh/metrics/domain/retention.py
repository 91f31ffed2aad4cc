"""How long measurements are kept, and how much room they may take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from servemesh.metrics.domain.coverage import Resolution


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long each resolution is kept, and how large all may become."""

    raw_s: float = 2 * 3_600.0
    minute_s: float = 30 * 86_400.0
    hour_s: float = 400 * 86_400.0
    size_bytes_max: int = 8 << 30

    def kept_ms(self, resolution: Resolution) -> int:
        """Return for how long a resolution is kept."""
        kept_s = {Resolution.RAW: self.raw_s, Resolution.MINUTE: self.minute_s, Resolution.HOUR: self.hour_s}
        return round(kept_s[resolution] * 1000)


class Trimmed(NamedTuple):
    """What was deleted because the store was too large: all of a resolution before a time."""

    resolution: Resolution
    until_ms: int


class Retained(NamedTuple):
    """What the store's size forced, and the size after it."""

    trimmed: tuple[Trimmed, ...]
    size_bytes: int

"""The clocks of this machine."""

from __future__ import annotations

import time
from datetime import datetime

from servemesh.registry.adapters.sql_codec import from_us


class SystemClock:
    """Satisfies ports.Clock."""

    def now(self) -> datetime:
        """The time of day in UTC, in whole microseconds."""
        return from_us(time.time_ns() // 1_000)

    def monotonic_s(self) -> float:
        """Seconds since the machine started."""
        return time.monotonic()

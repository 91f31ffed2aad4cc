"""When models will need more than there is, for the rules; not forecast anew at every look."""

from __future__ import annotations

import math
from collections.abc import Sequence

from servemesh.errors import ConflictError, MissingError
from servemesh.lifecycle import Clock
from servemesh.metrics.domain.alerting.judging import Shortage
from servemesh.metrics.service.capacity import Capacity

HORIZON_S_MIN = 900.0


class ExpectedShortages:
    """Satisfies alerting.Shortages."""

    def __init__(self, capacity: Capacity, clock: Clock, *, kept_s: float) -> None:
        self._capacity = capacity
        self._clock = clock
        self._kept_s = kept_s
        self._kept: dict[float, tuple[float, Sequence[Shortage]]] = {}

    async def shortages(self, within_s: float) -> Sequence[Shortage]:
        """When each model will need more than there is; nothing while that cannot be known."""
        now_s = self._clock.monotonic_s()
        kept = self._kept.get(within_s)
        if kept is not None and now_s - kept[0] < self._kept_s:
            return kept[1]
        found = await self._found(max(within_s, HORIZON_S_MIN))
        self._kept[within_s] = (now_s, found)
        return found

    async def _found(self, horizon_s: float) -> Sequence[Shortage]:
        try:
            need = await self._capacity.get(horizon_s)
        except (ConflictError, MissingError):  # nothing has run for long enough
            return ()
        return [
            Shortage(
                model=each.model.removeprefix("models/"),
                exceeded_s=each.exceeded_s if each.exceeded_s is not None else math.inf,
                peak_demand=each.peak_demand,
            )
            for each in need.models
        ]

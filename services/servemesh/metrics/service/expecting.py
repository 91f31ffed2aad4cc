"""When models will need more than there is, for the rules: forecasts take their time, and no look waits for one."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

from servemesh.errors import ConflictError, MissingError, ServemeshError
from servemesh.lifecycle import Clock
from servemesh.metrics.domain.alerting.judging import Shortage
from servemesh.metrics.service.capacity import Capacity
from servemesh.observe import names as telemetry

HORIZON_S_MIN = 900.0
FORGOTTEN = 20
"""What was expected so many intervals ago is not known any more."""
log = logging.getLogger(__name__)


class ExpectedShortages:
    """Satisfies alerting.Shortages. `run` looks ahead every `interval_s`, as far as was asked for."""

    def __init__(self, capacity: Capacity, clock: Clock, *, interval_s: float) -> None:
        self._capacity = capacity
        self._clock = clock
        self._interval_s = interval_s
        self._known: dict[float, tuple[float, Sequence[Shortage]]] = {}

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            for within_s in tuple(self._known):
                try:
                    found = await self._found(max(within_s, HORIZON_S_MIN))
                    self._known[within_s] = self._clock.monotonic_s(), found
                except ServemeshError as error:  # what was expected before stands for a while
                    log.warning(telemetry.RULE_FAILED, extra={"rule": "capacity", "reason": error.reason})
            await self._clock.sleep(self._interval_s)

    async def shortages(self, within_s: float) -> Sequence[Shortage]:
        """When each model will need more than there is, as far as it is known; never waits."""
        now_s = self._clock.monotonic_s()
        found_s, found = self._known.setdefault(within_s, (now_s, ()))
        return found if now_s - found_s <= FORGOTTEN * self._interval_s else ()

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

"""Has the supervisor run as many workers as the demand needs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from servemesh.lifecycle import Clock
from servemesh.local.domain.scaling import Scaling, ScalingPolicy, resting
from servemesh.observe import names

_log = logging.getLogger(__name__)


class Demand(Protocol):
    """Knows what is needed."""

    async def workers_needed(self) -> int | None:
        """Return how many workers are needed; None while that cannot be known."""


class Autoscaler:
    """Samples the demand again and again; `rest` is told which workers are not to run."""

    def __init__(
        self,
        demand: Demand,
        rest: Callable[[frozenset[str]], None],
        policy: ScalingPolicy,
        clock: Clock,
        *,
        interval_s: float,
    ) -> None:
        self._demand = demand
        self._rest = rest
        self._policy = policy
        self._clock = clock
        self._interval_s = interval_s

    async def run(self) -> None:
        """Follow the demand, for good."""
        scaling = Scaling(wanted=self._policy.workers_min)
        while True:
            await self._clock.sleep(self._interval_s)
            needed = await self._demand.workers_needed()
            before, scaling = scaling.wanted, scaling.after(self._clock.monotonic_s(), needed, self._policy)
            if scaling.wanted != before:
                _log.info(names.MESH_SCALED, extra={"workers": scaling.wanted, "needed": needed})
                self._rest(resting(self._policy.workers_max, scaling.wanted))

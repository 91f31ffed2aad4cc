"""When a process that died is started again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """Exponential back-off with jitter; a healthy minute wipes the slate."""

    delay_s_first: float = 0.1
    delay_s_max: float = 10.0
    healthy_s: float = 60.0
    deaths_before_ready_max: int = 5
    """A process that dies as often as this before it was ever ready will not get there: the mesh gives up."""
    unready_s_max: float = 120.0
    """So does one that has lived for so long in all without ever being ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deaths:
    """How often a process has died lately, and whether it was ever ready."""

    in_a_row: int = 0
    unready_s: float = 0.0
    was_ready: bool = False

    def after(self, *, lived_s: float, ready: bool, policy: RestartPolicy) -> Deaths:
        """Return the count after one more death of a process that lived for `lived_s`."""
        healthy = ready and lived_s >= policy.healthy_s
        return Deaths(
            in_a_row=1 if healthy else self.in_a_row + 1,
            unready_s=0.0 if ready else self.unready_s + lived_s,
            was_ready=self.was_ready or ready,
        )

    def is_hopeless(self, policy: RestartPolicy) -> bool:
        """Whether starting the process again is of no use."""
        if self.was_ready:
            return False
        return self.in_a_row >= policy.deaths_before_ready_max or self.unready_s >= policy.unready_s_max

    def delay_s(self, policy: RestartPolicy, random: Callable[[], float]) -> float:
        """Return how long to wait before the next start; `random` gives numbers from 0 to 1."""
        ceiling_s = min(policy.delay_s_first * 2.0 ** (self.in_a_row - 1), policy.delay_s_max)
        return ceiling_s * (0.5 + 0.5 * random())

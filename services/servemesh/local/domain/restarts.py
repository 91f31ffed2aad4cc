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


@dataclass(frozen=True, slots=True, kw_only=True)
class Deaths:
    """How often a process has died lately, and whether it was ever ready."""

    in_a_row: int = 0
    was_ready: bool = False

    def after(self, *, lived_s: float, ready: bool, policy: RestartPolicy) -> Deaths:
        """Return the count after one more death of a process that lived for `lived_s`."""
        healthy = ready and lived_s >= policy.healthy_s
        return Deaths(in_a_row=1 if healthy else self.in_a_row + 1, was_ready=self.was_ready or ready)

    def is_hopeless(self, policy: RestartPolicy) -> bool:
        """Whether starting the process again is of no use."""
        return not self.was_ready and self.in_a_row >= policy.deaths_before_ready_max

    def delay_s(self, policy: RestartPolicy, random: Callable[[], float]) -> float:
        """Return how long to wait before the next start; `random` gives numbers from 0 to 1."""
        ceiling_s = min(policy.delay_s_first * 2.0 ** (self.in_a_row - 1), policy.delay_s_max)
        return ceiling_s * (0.5 + 0.5 * random())

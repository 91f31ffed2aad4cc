"""How many workers the local mesh runs, as the demand asks: a state machine over samples, never moved by one alone.

More are started when several samples in a row ask for more; one at a time is ended after a long time in which every
sample asked for fewer. After each change it rests, so that what it did can show.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingPolicy:
    """The bounds, and how long to look before doing something."""

    workers_min: int
    workers_max: int
    samples_min: int = 3
    up_s: float = 20.0
    """For so long every sample must ask for more."""
    down_s: float = 300.0
    """For so long every sample must ask for fewer."""
    rest_s: float = 30.0
    """After a change, nothing is done for so long."""

    def clipped(self, workers: int) -> int:
        """Return what is within the bounds."""
        return max(self.workers_min, min(self.workers_max, workers))


@dataclass(frozen=True, slots=True, kw_only=True)
class Streak:
    """Samples in a row that ask for more, or for fewer, than there are."""

    since_s: float
    count: int
    modest: int
    """Of what they ask for, what is nearest to what there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """How many workers are wanted, and what the last samples said."""

    wanted: int
    changed_s: float = float("-inf")
    more: Streak | None = None
    fewer: Streak | None = None

    def after(self, now_s: float, needed: int | None, policy: ScalingPolicy) -> Scaling:
        """Return the state after a sample; None is one that could not be taken, which ends every streak."""
        if needed is None:
            return replace(self, more=None, fewer=None)
        asked = policy.clipped(needed)
        more = _longer(self.more, now_s, asked, min) if asked > self.wanted else None
        fewer = _longer(self.fewer, now_s, asked, max) if asked < self.wanted else None
        seen = replace(self, more=more, fewer=fewer)
        if now_s - self.changed_s < policy.rest_s:
            return seen
        if more and more.count >= policy.samples_min and now_s - more.since_s >= policy.up_s:
            return Scaling(wanted=more.modest, changed_s=now_s)
        if fewer and fewer.count >= policy.samples_min and now_s - fewer.since_s >= policy.down_s:
            return Scaling(wanted=self.wanted - 1, changed_s=now_s)
        return seen


def resting(workers_max: int, wanted: int) -> frozenset[str]:
    """Return the workers that are not to run: the last ones."""
    return frozenset(f"worker-{number}" for number in range(wanted + 1, workers_max + 1))


def _longer(streak: Streak | None, now_s: float, asked: int, modest: Callable[[int, int], int]) -> Streak:
    if streak is None:
        return Streak(since_s=now_s, count=1, modest=asked)
    return Streak(since_s=streak.since_s, count=streak.count + 1, modest=modest(streak.modest, asked))

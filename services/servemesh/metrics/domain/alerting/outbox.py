"""The outbox: deliveries on their way, a row for each channel, tried until somebody has taken them or they are old."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from servemesh.metrics.domain.alerting.grouping import Delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """One delivery to one channel. `row_id` rises in the order of writing and is 0 until it is kept."""

    row_id: int = 0
    channel: str
    delivery: Delivery
    attempt_count: int = 0
    due_s: float = 0.0

    @property
    def queue(self) -> tuple[str, str]:
        """Rows of one channel and group go in order: the next one waits until the first is gone."""
        return self.channel, self.delivery.group


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRules:
    """How long to wait after a failure, and when to give up."""

    first_s: float = 1.0
    longest_s: float = 300.0
    age_s_max: float = 86_400.0


def failed(row: OutboxRow, now_s: float, rules: RetryRules, chance: random.Random) -> OutboxRow | None:
    """Return the row with the time of its next attempt; None if it is too old for another one.

    The wait is random, up to a bound that doubles with each attempt.
    """
    if now_s - row.delivery.create_s >= rules.age_s_max:
        return None
    bound_s = min(rules.longest_s, rules.first_s * 2.0 ** min(row.attempt_count, 30))
    return replace(
        row, attempt_count=row.attempt_count + 1, due_s=now_s + chance.uniform(bound_s / 2, bound_s)
    )

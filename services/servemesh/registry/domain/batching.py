"""How a worker puts calls together."""

from __future__ import annotations

from dataclasses import dataclass

from servemesh.errors import InvalidError

BATCH_ROWS_MAX = 4_096
QUEUE_ROWS_MAX = 1_000_000
LINGER_S_MAX = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchingPolicy:
    """Bounds of a batch and of the queue before it; 0 means the worker's default."""

    batch_rows_max: int = 0
    linger_s: float = 0.0
    queue_rows_max: int = 0

    def checked(self) -> BatchingPolicy:
        """Return this policy; InvalidError if a value is out of its range."""
        _check("batch_rows_max", self.batch_rows_max, BATCH_ROWS_MAX)
        _check("linger", self.linger_s, LINGER_S_MAX)
        _check("queue_rows_max", self.queue_rows_max, QUEUE_ROWS_MAX)
        return self


# The worker decides.
DEFAULTS = BatchingPolicy()


def _check(field: str, value: float, most: float) -> None:
    if not 0 <= value <= most:
        raise InvalidError(
            f"deployment.batching.{field} is {value}, expected 0 to {most}",
            reason="OUT_OF_RANGE",
            field=f"deployment.batching.{field}",
            expected=f"0 to {most}",
            got=value,
        )

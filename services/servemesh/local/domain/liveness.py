"""When a process that lives but does not answer counts as hung."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often a process is asked whether it is well, and how long silence is borne.

    Silences are counted, not timed: a machine that slept has asked nobody meanwhile.
    """

    interval_s: float = 2.0
    silences_max: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Liveness:
    """How many times in a row a process has not answered well."""

    silences: int = 0

    def after(self, *, answered: bool) -> Liveness:
        """Return the count after one more question."""
        return Liveness(silences=0 if answered else self.silences + 1)

    def is_hung(self, patience: Patience) -> bool:
        """Whether waiting longer is of no use."""
        return self.silences >= patience.silences_max

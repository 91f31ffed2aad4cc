"""Aliases: names that move between Versions, and the history that answers "what was prod last Tuesday"."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from servemesh import names

# The etag that says: only if there is no such Alias yet.
NEW = "new"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """Where a name points now. `revision` counts its moves and goes on counting after a deletion."""

    model_id: str
    alias_id: str
    version_id: int
    update_time: datetime
    revision: int

    @property
    def name(self) -> str:
        """`models/{model}/aliases/{alias}`."""
        return names.alias(self.model_id, self.alias_id)

    @property
    def version(self) -> str:
        """`models/{model}/versions/{version}`."""
        return names.version(self.model_id, self.version_id)

    @property
    def etag(self) -> str:
        """Changes with every move."""
        return str(self.revision)


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasMove:
    """Where an Alias pointed from `move_time` on; `version_id` is None if it was deleted then."""

    model_id: str
    alias_id: str
    revision: int
    version_id: int | None
    move_time: datetime


def next_move_time(now: datetime, last: AliasMove | None) -> datetime:
    """`now`, or just after the last move if the clock went back: a history never runs backwards."""
    if last is None or now > last.move_time:
        return now
    return last.move_time + timedelta(microseconds=1)

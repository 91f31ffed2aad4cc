"""Which blobs nobody needs any more, and when they may be deleted.

A blob is in use while a Version or an open Upload names it. One that is in no use becomes an orphan, is left alone
for a grace, and is then condemned: from there on it goes, and nobody may put it in use until it is gone. So a
blob is never in use and condemned at the same time, and only condemned blobs are ever deleted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A blob in no use: since when that is known, and whether its deletion is decided."""

    sha256: str
    since: datetime
    is_condemned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is to be written down about some blobs. Nothing of it is deleted yet."""

    orphaned: tuple[Orphan, ...] = ()
    condemned: tuple[Orphan, ...] = ()
    cleared: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether all stays as it is."""
        return not (self.orphaned or self.condemned or self.cleared)


def judged(
    stored: Iterable[str],
    *,
    used: Collection[str],
    known: Mapping[str, Orphan],
    now: datetime,
    grace: timedelta,
) -> Verdict:
    """Decide on the stored blobs. `used` and `known` must be of one moment, and still hold when it is written down.

    The grace counts from when we first saw the blob in no use, not from when it was stored: whoever points a
    registry at the wrong database, or goes back to an old backup, has that long to notice.
    """
    orphaned: list[Orphan] = []
    condemned: list[Orphan] = []
    cleared: list[str] = []
    for sha256 in stored:
        orphan = known.get(sha256)
        if orphan is not None and orphan.is_condemned:
            continue  # decided: it may be half deleted by now
        if sha256 in used:
            if orphan is not None:
                cleared.append(sha256)
        elif orphan is None:
            orphaned.append(Orphan(sha256=sha256, since=now))
        elif now - orphan.since >= grace:
            condemned.append(replace(orphan, is_condemned=True))
    return Verdict(orphaned=tuple(orphaned), condemned=tuple(condemned), cleared=tuple(cleared))


def is_claimable(orphans: Iterable[Orphan]) -> bool:
    """Whether blobs can be put in use, given what is known of those that are orphans."""
    return not any(orphan.is_condemned for orphan in orphans)

"""Who belongs to the fleet: a state machine over announcements, listings and silence that takes `now`.

Losing NATS or the registry freezes the table. A worker leaves it when it says so, or when it fell silent
while the bus was demonstrably up and the registry, if it can be asked, does not know it either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from servemesh.gateway.domain.fleet import Fleet, Worker

PAST_INCARNATIONS_MAX = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait before believing in an absence."""

    silence_s: float = 5.0  # without announcements on a live bus
    bus_gap_s: float = 2.0  # without our own ping coming back: the bus is away
    listing_s: float = 15.0  # a listing older than this says nothing

    @property
    def other_silence_s(self) -> float:
        """Without announcements of a process before one that it has replaced is believed again."""
        return self.silence_s / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """When and how a worker was last seen."""

    sequence: int = 0
    heard_s: float  # the last announcement, or else when it entered the table
    is_announced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """The fleet with the evidence for it. Every move returns a new value."""

    fleet: Fleet = field(default_factory=Fleet)
    sightings: Mapping[str, Sighting] = field(default_factory=dict)
    left_incarnations: tuple[str, ...] = ()  # said goodbye
    replaced_s: Mapping[str, float] = field(default_factory=dict)  # incarnation → when another one was seen
    bus_heard_s: float | None = None
    bus_up_since_s: float | None = None
    is_bus_lost: bool = False
    listed_s: float | None = None
    listed_ids: frozenset[str] = frozenset()
    is_restored: bool = False

    @property
    def is_proven(self) -> bool:
        """Whether the table says something, if only that there is nobody: somebody is known, or was asked for."""
        return self.is_restored or bool(self.fleet.by_id) or self.listed_s is not None

    def announced(self, worker: Worker, *, sequence: int, now: float, patience: Patience) -> Membership:
        """`worker` spoke. Old news, and news of a process that is known to be gone, change nothing."""
        if self._is_past(worker, now, patience):
            return self
        sighting = self.sightings.get(worker.worker_id)
        if sighting is not None and self._is_known(worker) and sequence <= sighting.sequence:
            return self
        return self._with(worker, Sighting(sequence=sequence, heard_s=now, is_announced=True))

    def left(self, worker_id: str, incarnation: str) -> Membership:
        """The process said goodbye; its late announcements and listings are ignored from now on."""
        others = tuple(other for other in self.left_incarnations if other != incarnation)
        kept = replace(self, left_incarnations=(*others, incarnation)[-PAST_INCARNATIONS_MAX:])
        known = self.fleet.by_id.get(worker_id)
        if known is None or known.incarnation != incarnation:
            return kept
        return kept._without({worker_id})

    def listed(self, workers: Iterable[Worker], *, now: float, patience: Patience) -> Membership:
        """The registry named every worker with a lease. What a worker itself said lately counts for more,
        unless the bus is lost: then nobody can have said anything since.
        """
        state = self
        ids = set()
        for worker in workers:
            ids.add(worker.worker_id)
            if self._is_past(worker, now, patience):
                continue
            sighting = self.sightings.get(worker.worker_id)
            fresh = (
                sighting is not None
                and sighting.is_announced
                and now - sighting.heard_s <= patience.silence_s
                and not self.is_bus_lost
            )
            if not fresh:
                known = sighting if self._is_known(worker) else None
                state = state._with(worker, known or Sighting(heard_s=now))
        return replace(state, listed_s=now, listed_ids=frozenset(ids))

    def bus_heard(self, *, now: float, patience: Patience) -> Membership:
        """Our own ping came back: the bus carries messages."""
        was_away = not self._is_bus_up(now, patience)
        up_since_s = now if was_away else self.bus_up_since_s
        return replace(self, bus_heard_s=now, bus_up_since_s=up_since_s, is_bus_lost=False)

    def bus_lost(self) -> Membership:
        """Our own ping did not come back."""
        return replace(self, is_bus_lost=True)

    def without_the_silent(self, *, now: float, patience: Patience) -> Membership:
        """Let go of those whose absence is proven; without proof everybody stays."""
        if self.bus_up_since_s is None or not self._is_bus_up(now, patience):
            return self
        can_ask = self.listed_s is not None and now - self.listed_s <= patience.listing_s
        silent = {
            worker_id
            for worker_id, sighting in self.sightings.items()
            if now - max(sighting.heard_s, self.bus_up_since_s) > patience.silence_s
            and not (can_ask and worker_id in self.listed_ids)
        }
        return self._without(silent) if silent else self

    def _is_bus_up(self, now: float, patience: Patience) -> bool:
        return self.bus_heard_s is not None and now - self.bus_heard_s <= patience.bus_gap_s

    def _is_known(self, worker: Worker) -> bool:
        """Whether the table has this very process."""
        known = self.fleet.by_id.get(worker.worker_id)
        return known is not None and known.incarnation == worker.incarnation

    def _is_past(self, worker: Worker, now: float, patience: Patience) -> bool:
        """Whether the process is known to be gone. One that another has replaced may have been the newer one, if
        a late message of the older came between: it is believed again once the other has fallen silent.
        """
        if worker.incarnation in self.left_incarnations:
            return True
        if self._is_known(worker) or worker.incarnation not in self.replaced_s:
            return False
        seen_s = self.replaced_s[worker.incarnation]
        if (other := self.sightings.get(worker.worker_id)) is not None:
            seen_s = max(seen_s, other.heard_s)
        return now - seen_s <= patience.other_silence_s

    def _with(self, worker: Worker, sighting: Sighting) -> Membership:
        sightings = {**self.sightings, worker.worker_id: sighting}
        known = self.fleet.by_id.get(worker.worker_id)
        if known == worker:
            return replace(self, sightings=sightings)
        past = self.replaced_s
        if known is not None and known.incarnation != worker.incarnation:
            others = [pair for pair in past.items() if pair[0] != known.incarnation]
            past = dict([*others, (known.incarnation, sighting.heard_s)][-PAST_INCARNATIONS_MAX:])
        by_id = {**self.fleet.by_id, worker.worker_id: worker}
        fleet = Fleet(revision=self.fleet.revision + 1, by_id=by_id)
        return replace(self, sightings=sightings, fleet=fleet, replaced_s=past)

    def _without(self, worker_ids: set[str]) -> Membership:
        by_id = {id_: worker for id_, worker in self.fleet.by_id.items() if id_ not in worker_ids}
        sightings = {id_: seen for id_, seen in self.sightings.items() if id_ not in worker_ids}
        return replace(self, sightings=sightings, fleet=Fleet(revision=self.fleet.revision + 1, by_id=by_id))


def restored(workers: Iterable[Worker], *, now: float) -> Membership:
    """Return the table of an earlier life of this gateway: believed until the feeds say otherwise."""
    by_id = {worker.worker_id: worker for worker in workers}
    sightings = {worker_id: Sighting(heard_s=now) for worker_id in by_id}
    fleet = Fleet(revision=1 if by_id else 0, by_id=by_id)
    return Membership(fleet=fleet, sightings=sightings, is_restored=True)

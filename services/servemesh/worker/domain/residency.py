"""Which Versions are resident: decided anew at each change, from memory, importance, use and demand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from servemesh.worker.domain.slots import Slot, SlotState


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A slot with what its neighbours must know: whether it has calls in flight, when it was last used."""

    slot: Slot
    is_idle: bool = True
    used: int = 0  # rises with every use of any slot

    @property
    def is_resident(self) -> bool:
        """Whether it can be evicted once it is idle."""
        return self.slot.state is SlotState.READY


@dataclass(slots=True, kw_only=True)
class Plan:
    """What to do now; after each step done, plan again. `refused` can never fit."""

    load: list[str] = field(default_factory=list)
    evict: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class _Room:
    free_bytes: int
    leaving_bytes: int  # held by slots that are on their way out

    def reserve(self, size_bytes: int) -> None:
        """Keep room for a load that has been decided on."""
        now_bytes = min(size_bytes, max(self.free_bytes, 0))
        self.free_bytes -= now_bytes
        self.leaving_bytes -= size_bytes - now_bytes


def planned(
    seats: Sequence[Seat],
    demanded: Sequence[str],
    *,
    memory_bytes_max: int,
    loads_max: int,
    now_s: float,
) -> Plan:
    """Return what to load and what to evict for it. `seats` come in order of importance.

    What was demanded comes first, in the order of the demands, and may take the place of any idle slot. What was
    newly assigned may take the place of idle slots that are less important and that no call asked for. What was
    evicted comes back when it is demanded, or into free room: so slots never chase each other.
    """
    plan = Plan()
    by_name = {seat.slot.name: seat for seat in seats}
    room = _room(seats, memory_bytes_max)
    loads_free = loads_max - sum(seat.slot.state in (SlotState.LOADING, SlotState.WARMING) for seat in seats)
    spared = set(demanded)
    _shrink(plan, room, seats, spared)
    for seat, victims in _candidates(seats, [by_name[name] for name in demanded if name in by_name]):
        need_bytes = seat.slot.need_bytes
        is_demanded = seat.slot.name in spared
        if not _may_load(seat, is_demanded, now_s):
            continue
        if need_bytes > memory_bytes_max:
            plan.refused.append(seat.slot.name)
        elif _make_room(plan, room, need_bytes, victims, spared):
            fits = need_bytes <= room.free_bytes
            room.reserve(need_bytes)
            if fits and loads_free > (0 if is_demanded else 1 if loads_max > 1 else 0):
                plan.load.append(seat.slot.name)
                loads_free -= 1
    return plan


def _room(seats: Iterable[Seat], memory_bytes_max: int) -> _Room:
    held_bytes = sum(seat.slot.memory_bytes for seat in seats)
    leaving_bytes = sum(seat.slot.memory_bytes for seat in seats if seat.slot.state is SlotState.DRAINING)
    return _Room(free_bytes=memory_bytes_max - held_bytes, leaving_bytes=leaving_bytes)


def _shrink(plan: Plan, room: _Room, seats: Sequence[Seat], spared: set[str]) -> None:
    """Make up for slots that turned out larger than estimated."""
    if room.free_bytes + room.leaving_bytes < 0:
        for victim in _by_last_use(seats, spared):
            if room.free_bytes + room.leaving_bytes >= 0:
                break
            _evict(plan, room, victim)


def _candidates(seats: Sequence[Seat], demanded: Sequence[Seat]) -> Iterable[tuple[Seat, Sequence[Seat]]]:
    """Yield who may load, first come first, each with the seats that may have to make way for it."""
    names = {seat.slot.name for seat in demanded}
    for seat in demanded:
        yield seat, seats
    for place, seat in enumerate(seats):
        if seat.slot.wanted and seat.slot.name not in names:
            gone = [other for other in seats[:place] if other.slot.removed]
            yield seat, [*gone, *(other for other in seats[place + 1 :] if not other.slot.asked)]
    for seat in seats:
        if not seat.slot.wanted and seat.slot.name not in names:
            yield seat, ()


def _may_load(seat: Seat, is_demanded: bool, now_s: float) -> bool:
    slot = seat.slot
    if slot.removed or slot.retry_at_s > now_s or slot.state not in (SlotState.UNLOADED, SlotState.FAILED):
        return False
    return is_demanded or not slot.parked


def _make_room(plan: Plan, room: _Room, need_bytes: int, victims: Sequence[Seat], spared: set[str]) -> bool:
    """Evict what must go; evict nothing and return False if that would not be enough."""
    short_bytes = need_bytes - room.free_bytes - room.leaving_bytes
    chosen = []
    for victim in _by_last_use(victims, spared):
        if short_bytes <= 0:
            break
        if victim.slot.name not in plan.evict:
            chosen.append(victim)
            short_bytes -= victim.slot.memory_bytes
    if short_bytes > 0:
        return False
    for victim in chosen:
        _evict(plan, room, victim)
    return True


def _by_last_use(seats: Iterable[Seat], spared: set[str]) -> list[Seat]:
    able = (seat for seat in seats if seat.is_resident and seat.is_idle and seat.slot.name not in spared)
    return sorted(able, key=lambda seat: (not seat.slot.removed, seat.used))


def _evict(plan: Plan, room: _Room, victim: Seat) -> None:
    plan.evict.append(victim.slot.name)
    room.leaving_bytes += victim.slot.memory_bytes

"""What this worker holds and should hold: found by calls without waiting, loaded for calls that can wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from servemesh import names, oip
from servemesh.errors import MissingError
from servemesh.worker.domain import addressing, refusals
from servemesh.worker.domain.addressing import Key, LateName
from servemesh.worker.domain.batching import BatchPolicy
from servemesh.worker.domain.residency import Seat
from servemesh.worker.domain.signature import Signature
from servemesh.worker.domain.slots import Slot, SlotState
from servemesh.worker.domain.versions import AssignedVersion, Assignment
from servemesh.worker.service.changes import Changes
from servemesh.worker.service.slots import ReadySlot
from servemesh.worker.service.statistics import Statistics


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotStatus:
    """One slot as it stands, for the registry, the gateway and callers. Satisfies slots.SlotView."""

    name: str  # models/{model}/versions/{version}
    model: str
    version_id: int
    state: SlotState
    signature: Signature
    policy: BatchPolicy
    is_default: bool
    aliases: tuple[str, ...]
    reason: str
    message: str
    memory_bytes: int
    statistics: Statistics | None
    ready: ReadySlot | None  # while it is resident


@dataclass(slots=True, kw_only=True)
class Resident:
    """A Version in memory; `used` says when calls last found it, in uses of any slot."""

    slot: ReadySlot
    used: int = 0


class Residency:
    """The slots of this worker by name. Only the reconciler moves them from state to state."""

    def __init__(
        self,
        *,
        policy: BatchPolicy,
        memory_factor: float,
        load_wait_s: float,
        name_wait_s: float,
        clock_s: Callable[[], float],
        told: Callable[[Sequence[SlotStatus]], None],
    ) -> None:
        self._policy = policy
        self._memory_factor = memory_factor
        self._load_wait_s = load_wait_s
        self._name_wait_s = name_wait_s
        self._clock_s = clock_s
        self._told = told
        self._slots: dict[str, Slot] = {}  # most important first, removed ones last
        self._residents: dict[str, Resident] = {}
        self._held: dict[Key, str] = {}
        self._table: dict[Key, Resident] = {}
        self._late: dict[Key, LateName] = {}
        self._demands: dict[str, int] = {}
        self._statistics: dict[str, Statistics] = {}
        self._uses = 0
        self.shown: Sequence[SlotStatus] = ()  # as of the last change; any thread may read it
        self.changes = Changes()

    # --- for calls -------------------------------------------------------------------------------

    def find(self, model: str, version: str, pinned: str = "") -> ReadySlot:
        """Return the slot that answers a call, without waiting."""
        key = (model, version or pinned)
        resident = self._table.get(key) or self._late_resident(key)
        if resident is None:
            name = self._get_name(model, version or pinned)
            raise oip.not_ready(model, version, self._slots[name].state)
        self._uses += 1
        resident.used = self._uses
        return resident.slot

    async def ready(self, model: str, version: str, pinned: str = "") -> ReadySlot:
        """Like `find`, but load the Version first if it is assigned and not resident.

        Raises ConflictError with the slot's reason if it cannot be loaded, OverloadedError if it cannot fit.
        """
        key = (model, version or pinned)
        if key not in self._table and self._late_resident(key) is None:
            name = self._get_name(model, version or pinned)
            await self._made_ready(name)
        return self.find(model, version, pinned)

    async def unload(self, model: str) -> None:
        """Make every Version of the model not resident, until a call asks for it. Calls under way are finished."""
        mine = [slot.name for slot in self._slots.values() if slot.assigned.version.model == model]
        if not mine:
            raise oip.unknown_model(model)
        for name in mine:
            self.park(name)
        with self.changes.watched() as changed:
            while any(name in self._residents for name in mine):
                changed.clear()
                await changed.wait()

    def slots(self) -> list[SlotStatus]:
        """Return every slot, ordered by model and version."""
        ordered = sorted(self._slots.values(), key=lambda slot: names.version_ids(slot.name))
        return [self._status(slot) for slot in ordered]

    # --- for the reconciler ----------------------------------------------------------------------

    def assign(self, assignment: Assignment) -> None:
        """Take over what should be held; slots that are not in it any more are marked removed."""
        before = self._slots
        self._slots = {one.version.name: self._assigned(before, one) for one in assignment.versions}
        for name, slot in before.items():
            if name not in self._slots:
                self._slots[name] = _with(slot, removed=True)
        self._changed()

    def get(self, name: str) -> Slot:
        """Return the slot of that name."""
        return self._slots[name]

    def seats(self) -> list[Seat]:
        """Return every slot with what the plan must know of it."""
        return [self._seat(slot) for slot in self._slots.values()]

    @property
    def demanded(self) -> list[str]:
        """Slots that callers wait for, in the order of the demands."""
        return [name for name in self._demands if name in self._slots]

    def leavers(self) -> list[str]:
        """Return the removed slots that nothing depends on any more."""
        return [
            slot.name
            for slot in self._slots.values()
            if slot.removed and not addressing.is_needed(slot, self._slots, self._held)
        ]

    def parked(self) -> list[str]:
        """Return the slots that somebody unloaded."""
        return [slot.name for slot in self._slots.values() if slot.parked]

    def park(self, name: str) -> None:
        """Have the slot unloaded until a call asks for it."""
        self.put(_with(self._slots[name], parked=True))

    def put(self, slot: Slot) -> None:
        """Take over the new value of a slot; a removed one that is not resident is forgotten."""
        self._slots[slot.name] = slot
        if slot.removed and slot.state in (SlotState.UNLOADED, SlotState.FAILED):
            del self._slots[slot.name]
            self._statistics.pop(slot.name, None)
        self._changed()

    def outdated(self) -> list[str]:
        """Return the resident slots whose calls are batched otherwise than is assigned now."""
        return [
            name
            for name, resident in self._residents.items()
            if resident.slot.policy != self._slots[name].assigned.batching.policy(self._policy)
        ]

    def seat_resident(self, name: str, ready: ReadySlot) -> None:
        """Calls find the slot from now on."""
        self._uses += 1
        self._residents[name] = Resident(slot=ready, used=self._uses)
        self._changed()

    def unseat(self, name: str) -> None:
        """Calls do not find the slot any more."""
        self._residents.pop(name, None)
        self._changed()

    def abandon(self, name: str) -> None:
        """Refuse the calls of a slot, those under way too."""
        if name in self._residents:
            self._residents[name].slot.batcher.abandon()

    def statistics(self, name: str) -> Statistics:
        """Return the counters of a slot, which outlive its being unloaded."""
        return self._statistics.setdefault(name, Statistics())

    # --- inside ----------------------------------------------------------------------------------

    def _assigned(self, before: dict[str, Slot], assigned: AssignedVersion) -> Slot:
        slot = before.get(assigned.version.name)
        if slot is not None:
            return _with(slot, assigned=assigned, removed=False)
        return Slot(assigned=assigned, need_bytes=int(assigned.version.size_bytes * self._memory_factor))

    def _changed(self) -> None:
        before, self._held = self._held, addressing.holders(self._slots, self._held)
        self._late = addressing.late_names(
            self._late, before, self._held, now_s=self._clock_s(), wait_s=self._name_wait_s
        )
        self._table = {
            key: self._residents[name] for key, name in self._held.items() if name in self._residents
        }
        self.shown = self.slots()
        self._told(self.shown)
        self.changes.notify()

    def _late_resident(self, key: Key) -> Resident | None:
        late = self._late.get(key)
        return self._residents.get(late.slot) if late is not None and self._clock_s() < late.until_s else None

    def _get_name(self, model: str, version: str) -> str:
        name = self._held.get((model, version))
        if name is None:
            raise oip.unknown_model(model, version)
        return name

    async def _made_ready(self, name: str) -> None:
        with self._demanding(name), self.changes.watched() as changed:
            try:
                async with asyncio.timeout(self._load_wait_s):
                    while (slot := self._slots.get(name)) is None or slot.state is not SlotState.READY:
                        if slot is None or slot.removed:
                            raise MissingError(
                                f"{name} left this worker", reason="NOT_ASSIGNED", version=name
                            )
                        if slot.state is SlotState.FAILED:
                            raise refusals.not_loadable(slot)
                        changed.clear()
                        await changed.wait()
            except TimeoutError as error:
                raise refusals.not_ready_in_time(self._slots[name], self._load_wait_s) from error

    @contextmanager
    def _demanding(self, name: str) -> Iterator[None]:
        self._demands[name] = self._demands.get(name, 0) + 1
        if self._slots[name].parked:
            self.put(_with(self._slots[name], parked=False))
        self.changes.notify()
        try:
            yield
        finally:
            self._demands[name] -= 1
            if not self._demands[name]:
                del self._demands[name]

    def _seat(self, slot: Slot) -> Seat:
        resident = self._residents.get(slot.name)
        if resident is None:
            return Seat(slot=slot)
        return Seat(slot=slot, is_idle=resident.slot.batcher.is_idle, used=resident.used)

    def _status(self, slot: Slot) -> SlotStatus:
        version = slot.assigned.version
        held = {key for key in slot.assigned.keys if not slot.removed}
        held |= {key for key, name in self._held.items() if name == slot.name}
        resident = self._residents.get(slot.name)
        return SlotStatus(
            name=slot.name,
            model=version.model,
            version_id=version.version_id,
            state=slot.state,
            signature=resident.slot.signature if resident else version.signature,
            policy=slot.assigned.batching.policy(self._policy),
            is_default=(version.model, "") in held,
            aliases=tuple(sorted(name for _, name in held if name and not names.is_version_id(name))),
            reason=slot.reason,
            message=slot.message,
            memory_bytes=slot.memory_bytes,
            statistics=self._statistics.get(slot.name),
            ready=resident.slot if resident else None,
        )


def _with(slot: Slot, **changes: object) -> Slot:
    return replace(slot, **changes)  # type: ignore[arg-type]

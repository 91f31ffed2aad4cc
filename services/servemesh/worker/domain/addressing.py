"""Which slot answers to which name: a name moves to a new Version only when that one is READY."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from servemesh.worker.domain.slots import Slot, SlotState

Key = tuple[str, str]  # model and version id, alias or "" for the default


@dataclass(frozen=True, slots=True, kw_only=True)
class LateName:
    """A name that went to another worker. `slot` still answers to it `until_s`: gateways learn of it later."""

    slot: str
    until_s: float


def claims(slots: Iterable[Slot]) -> dict[Key, list[str]]:
    """Return the slots that are assigned each name, most important first."""
    claimed: dict[Key, list[str]] = {}
    for slot in slots:
        if not slot.removed:
            for key in slot.assigned.keys:
                claimed.setdefault(key, []).append(slot.name)
    return claimed


def holders(slots: Mapping[str, Slot], before: Mapping[Key, str]) -> dict[Key, str]:
    """Return the slot that each name means now.

    That is the most important READY one of those it is assigned to. While none is READY, the slot that had the
    name `before` keeps it if it still answers: an update that fails leaves the old Version serving.
    """
    held: dict[Key, str] = {}
    for key, names in claims(slots.values()).items():
        ready = next((name for name in names if slots[name].state is SlotState.READY), None)
        old = before.get(key)
        if ready is None and old is not None and old in slots and answers(slots[old]):
            held[key] = old
        else:
            held[key] = ready or names[0]
    for slot in slots.values():
        if slot.removed and answers(
            slot
        ):  # a caller who names it outright is still answered while it is here
            held.setdefault((slot.assigned.version.model, str(slot.assigned.version.version_id)), slot.name)
    return held


def answers(slot: Slot) -> bool:
    """Whether calls can still reach it: a DRAINING one goes on until the gateway has looked away."""
    return slot.state in (SlotState.READY, SlotState.DRAINING)


def is_needed(slot: Slot, slots: Mapping[str, Slot], held: Mapping[Key, str]) -> bool:
    """Whether a removed slot still stands in for a Version that is assigned its name and is not READY yet."""
    return any(
        held.get(key) == slot.name and any(slots[name].name != slot.name for name in names)
        for key, names in claims(slots.values()).items()
    )


def late_names(
    late: Mapping[Key, LateName],
    before: Mapping[Key, str],
    held: Mapping[Key, str],
    *,
    now_s: float,
    wait_s: float,
) -> dict[Key, LateName]:
    """Return the names that nobody here means any more since less than `wait_s`, given those known so far."""
    gone = {key: LateName(slot=name, until_s=now_s + wait_s) for key, name in before.items()}
    return {key: name for key, name in {**late, **gone}.items() if key not in held and name.until_s > now_s}

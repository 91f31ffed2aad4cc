"""What to ask for when nobody can answer a call: a pure decision over the fleet."""

from __future__ import annotations

from dataclasses import dataclass

from servemesh.gateway.domain.fleet import Fleet, Holding, SlotState

UNDER_WAY = frozenset({SlotState.LOADING, SlotState.WARMING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What helps: wait, have this worker load, or (if nothing is set) ask the registry for a place."""

    is_under_way: bool = False
    load: Holding | None = None
    hopeless: str = ""  # why waiting is in vain, in words for the user

    @property
    def is_unheard_of(self) -> bool:
        """Whether no worker that takes calls is to hold it."""
        return not self.is_under_way and self.load is None and not self.hopeless


def wish(fleet: Fleet, model: str, version: str) -> Wish:
    """Return what to ask for so that a call for `model` and `version` finds a holder.

    A worker that is loading it will do; else the one with the most room that is assigned it; a slot that
    FAILED everywhere means that a load will fail again until the user acts.
    """
    holdings = fleet.holdings(model, version)
    if any(holding.slot.state in UNDER_WAY for holding in holdings):
        return Wish(is_under_way=True)
    unloaded = [holding for holding in holdings if holding.slot.state is SlotState.UNLOADED]
    if unloaded:
        return Wish(load=max(unloaded, key=lambda holding: (_room_bytes(holding), holding.worker.worker_id)))
    failed = [holding for holding in holdings if holding.slot.state is SlotState.FAILED]
    if failed and len(failed) == len(holdings):
        slot = failed[0].slot
        return Wish(hopeless=slot.message or slot.reason or "it could not be loaded")
    return Wish()


def _room_bytes(holding: Holding) -> int:
    return holding.worker.memory_bytes_max - sum(slot.memory_bytes for slot in holding.worker.slots)

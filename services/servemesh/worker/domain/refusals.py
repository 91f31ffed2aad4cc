"""Refusals of calls that waited for a Version to be loaded."""

from __future__ import annotations

from servemesh.errors import (
    ConflictError,
    ExpiredError,
    OverloadedError,
    ServemeshError,
)
from servemesh.worker.domain.slots import Slot, SlotState

# Reasons of FAILED slots that mean: a limit of this worker is reached.
LIMIT_REASONS = frozenset({"MODEL_TOO_LARGE", "MEMORY_FULL", "CACHE_FULL", "DISK_FULL"})


def not_loadable(slot: Slot) -> ServemeshError:
    """Return the error for a call that waited for a slot which FAILED."""
    kind = OverloadedError if slot.reason in LIMIT_REASONS else ConflictError
    return kind(f"{slot.name} cannot be loaded: {slot.message}", reason=slot.reason, version=slot.name)


def not_ready_in_time(slot: Slot, wait_s: float) -> ServemeshError:
    """Return the error for a call that waited for a slot as long as this worker lets it."""
    if slot.state is SlotState.UNLOADED:
        return OverloadedError(
            f"{slot.name} finds no room in memory: the slots beside it have calls in flight",
            reason="MEMORY_FULL",
            version=slot.name,
        )
    return ExpiredError(
        f"{slot.name} was not ready within {wait_s:g} s", reason="LOAD_TIMEOUT", version=slot.name
    )

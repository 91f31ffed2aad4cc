"""Refusals of calls for models: unknown, not ready, not loadable; the first two in texts that OIP clients know."""

from __future__ import annotations

from servemesh.errors import (
    ConflictError,
    ExpiredError,
    MissingError,
    OverloadedError,
    ServemeshError,
    UnavailableError,
)
from servemesh.worker.domain.slots import Slot, SlotState

# Reasons of FAILED slots that mean: a limit of this worker is reached.
LIMIT_REASONS = frozenset({"MODEL_TOO_LARGE", "MEMORY_FULL", "CACHE_FULL", "DISK_FULL"})


def unknown_model(model: str, version: str = "") -> MissingError:
    """Return the error for a model or version that this worker does not serve."""
    what = f"'{model[:200]}'" + (f" version {version[:200]}" if version else "")
    return MissingError(
        f"Request for unknown model: {what} is not found",
        reason="MODEL_UNKNOWN",
        model=model,
        version=version,
    )


def model_not_ready(model: str, version: str, state: str) -> UnavailableError:
    """Return the error for a model that is known here and cannot answer now."""
    return UnavailableError(
        f"Request for unavailable model: '{model}' version {version or 'default'} is not at ready state: {state}",
        reason="MODEL_NOT_READY",
        model=model,
        version=version,
        state=state,
    )


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

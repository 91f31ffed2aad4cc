"""The life of a slot: the place of one Version in this worker, moved from state to state by returning new values."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from servemesh.worker.domain.versions import AssignedVersion

NEVER_S = math.inf


class SlotState(StrEnum):
    """Where a slot stands."""

    UNLOADED = "UNLOADED"
    LOADING = "LOADING"
    WARMING = "WARMING"
    READY = "READY"
    DRAINING = "DRAINING"
    FAILED = "FAILED"


_MOVES = {
    SlotState.UNLOADED: {SlotState.LOADING, SlotState.FAILED},
    SlotState.LOADING: {SlotState.WARMING, SlotState.FAILED, SlotState.UNLOADED},
    SlotState.WARMING: {SlotState.READY, SlotState.FAILED, SlotState.UNLOADED},
    SlotState.READY: {SlotState.DRAINING},
    SlotState.DRAINING: {SlotState.UNLOADED},
    SlotState.FAILED: {SlotState.LOADING, SlotState.FAILED, SlotState.UNLOADED},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One Version in this worker.

    `need_bytes` is what it takes when resident: estimated, then measured. `memory_bytes` is what it takes now.
    `wanted`: it was never resident since it was assigned. `asked`: it is resident because a call asked for it.
    `parked`: somebody unloaded it; only a call loads it. `removed`: it is no longer assigned, and goes once
    nothing depends on it.
    """

    assigned: AssignedVersion
    need_bytes: int
    state: SlotState = SlotState.UNLOADED
    memory_bytes: int = 0
    wanted: bool = True
    asked: bool = False
    parked: bool = False
    removed: bool = False
    reason: str = ""
    message: str = ""
    failures: int = 0
    retry_at_s: float = 0.0

    @property
    def name(self) -> str:
        """`models/{model}/versions/{version}`."""
        return self.assigned.version.name

    def loading(self, *, asked: bool = False) -> Slot:
        """Its bytes are being fetched and opened; the memory it will need is set aside."""
        return self._moved(
            SlotState.LOADING, memory_bytes=self.need_bytes, reason="", message="", parked=False, asked=asked
        )

    def warming(self, memory_bytes: int) -> Slot:
        """It is open, took so much memory, and makes its trial runs."""
        return self._moved(SlotState.WARMING, memory_bytes=memory_bytes, need_bytes=memory_bytes)

    def ready(self) -> Slot:
        """It answers calls."""
        return self._moved(SlotState.READY, wanted=False, failures=0, retry_at_s=0.0)

    def draining(self) -> Slot:
        """It finishes the calls it has."""
        return self._moved(SlotState.DRAINING)

    def unloaded(self) -> Slot:
        """It is not resident, and not because of a failure, or of one that has been waited out."""
        return self._moved(SlotState.UNLOADED, memory_bytes=0)

    def failed(self, reason: str, message: str, *, retry_at_s: float) -> Slot:
        """It could not be loaded; NEVER_S if trying again is of no use."""
        return self._moved(
            SlotState.FAILED,
            memory_bytes=0,
            reason=reason,
            message=message,
            failures=self.failures + 1,
            retry_at_s=retry_at_s,
        )

    def _moved(self, state: SlotState, **changes: object) -> Slot:
        assert state in _MOVES[self.state], f"{self.name} cannot go from {self.state} to {state}"
        return replace(self, state=state, **changes)  # type: ignore[arg-type]


def backoff_s(failures: int, *, first_s: float, longest_s: float, chance: float) -> float:
    """Return how long to wait after so many failures; `chance` (0 to 1) spreads it by half either way."""
    doubled_s = first_s * 2.0 ** min(failures, 30)
    return min(doubled_s, longest_s) * (0.5 + chance)

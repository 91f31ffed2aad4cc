"""Health of each model: SERVING exactly while its slot is READY."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from servemesh.worker.domain.slots import SlotState
from servemesh.worker.service.residency import SlotStatus


class HealthBoard(Protocol):
    """Where health is shown, by service name."""

    def set(self, service: str, serving: bool) -> None:
        """Say whether `service` takes calls."""

    def remove(self, service: str) -> None:
        """Forget `service`."""


class Readiness:
    """Shows `{model}` (the default Version) and `{model}/{version id}` on the health board."""

    def __init__(self, board: HealthBoard) -> None:
        self._board = board
        self._shown: dict[str, bool] = {}

    def show(self, slots: Sequence[SlotStatus]) -> None:
        """Bring the board up to date."""
        now: dict[str, bool] = {}
        for slot in slots:
            serving = slot.state is SlotState.READY
            now[f"{slot.model}/{slot.version_id}"] = serving
            if slot.is_default:
                now[slot.model] = now.get(slot.model, False) or serving
        for service in self._shown.keys() - now.keys():
            self._board.remove(service)
        for service, serving in now.items():
            if self._shown.get(service) is not serving:
                self._board.set(service, serving)
        self._shown = now

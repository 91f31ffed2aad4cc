"""What this worker serves, for those who ask about models rather than run them."""

from __future__ import annotations

from servemesh import oip
from servemesh.errors import UnavailableError
from servemesh.worker.service.slots import Slots, SlotView


class Catalog:
    """Questions about the slots of this worker, whether they are READY or not."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots

    def is_ready(self, model: str, version: str) -> bool:
        """Whether a call sent now would be run; oip.unknown_model if there is no such model."""
        try:
            self._slots.find(model, version)
        except UnavailableError:
            return False
        return True

    def slot(self, model: str, version: str) -> SlotView:
        """Return the slot that answers to a version id, an alias or the empty string."""
        for slot in self.slots(model):
            if version in (str(slot.version_id), *slot.aliases) or (not version and slot.is_default):
                return slot
        raise oip.unknown_model(model, version)

    def slots(self, model: str = "", version: str = "") -> list[SlotView]:
        """Return the slots of one model or of all; oip.unknown_model if there is none of that name."""
        if version:
            return [self.slot(model, version)]
        slots = [slot for slot in self._slots.slots() if model in ("", slot.model)]
        if model and not slots:
            raise oip.unknown_model(model)
        return slots

    async def load(self, model: str, version: str = "") -> SlotView:
        """Make the slot READY and return it."""
        ready = await self._slots.ready(model, version)
        return self.slot(model, str(ready.version_id))

    async def unload(self, model: str) -> None:
        """Make every Version of the model not resident."""
        await self._slots.unload(model)

"""Gauges of the slots, for Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from servemesh.observe import metrics, names
from servemesh.worker.domain.slots import SlotState
from servemesh.worker.service.residency import SlotStatus


class SlotGauges:
    """Shows how many slots are in each state and what memory each takes."""

    def __init__(self, memory_bytes_max: int) -> None:
        metrics.gauge(names.WORKER_MEMORY_MAX).set(memory_bytes_max)
        self._slots = metrics.gauge(names.WORKER_SLOTS)
        self._memory = metrics.gauge(names.WORKER_SLOT_MEMORY)
        self._shown: set[tuple[str, str]] = set()

    def show(self, slots: Sequence[SlotStatus]) -> None:
        """Bring the gauges up to date."""
        counts = Counter(slot.state for slot in slots)
        for state in SlotState:
            self._slots.labels(state=state.value).set(counts[state])
        now = {(slot.model, str(slot.version_id)): slot.memory_bytes for slot in slots if slot.memory_bytes}
        for labels in self._shown - now.keys():
            self._memory.remove(*labels)
        for (model, version), memory_bytes in now.items():
            self._memory.labels(model=model, version=version).set(memory_bytes)
        self._shown = set(now)

"""Who this worker is and how it stands, as it tells the registry and the gateways."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from servemesh import names
from servemesh.api.fleet.v1 import fleet_pb2 as pb
from servemesh.worker.service.fleet_messages import slot_message
from servemesh.worker.service.residency import SlotStatus


class Identity:
    """One incarnation of this worker. Where it can be reached is known once its server is bound."""

    def __init__(
        self,
        worker_id: str,
        incarnation: str,
        *,
        slots: Callable[[], Sequence[SlotStatus]],
        metrics_address: str,
        memory_bytes_max: int,
        providers: Sequence[str],
    ) -> None:
        self.worker_id = worker_id
        self.name = names.worker(worker_id)
        self.incarnation = incarnation
        self.is_draining = False
        self.bound = asyncio.Event()
        self._address = ""
        self._slots = slots
        self._metrics_address = metrics_address
        self._memory_bytes_max = memory_bytes_max
        self._providers = tuple(providers)

    def bind(self, address: str) -> None:
        """Say where the worker can be reached; before that nobody is told of it."""
        self._address = address
        self.bound.set()

    def worker(self) -> pb.Worker:
        """Return the worker as it stands."""
        return pb.Worker(
            name=self.name,
            incarnation=self.incarnation,
            address=self._address,
            metrics_address=self._metrics_address,
            state=pb.Worker.STATE_DRAINING if self.is_draining else pb.Worker.STATE_ACTIVE,
            slots=[slot_message(slot) for slot in self._slots()],
            memory_bytes_max=self._memory_bytes_max,
            providers=self._providers,
        )

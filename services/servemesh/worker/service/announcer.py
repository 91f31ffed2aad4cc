"""Tells the gateways how this worker stands: at every change, and twice a second while nothing changes."""

from __future__ import annotations

from servemesh.api.fleet.v1 import fleet_pb2 as pb
from servemesh.events import subjects
from servemesh.events.ports import Announcer as AnnouncerPort
from servemesh.worker.service.changes import Changes, awoken
from servemesh.worker.service.identity import Identity


class Announcer:
    """Announcements of one incarnation, numbered from 1."""

    def __init__(
        self, bus: AnnouncerPort, identity: Identity, changes: Changes, *, interval_s: float
    ) -> None:
        self._bus = bus
        self._identity = identity
        self._changes = changes
        self._interval_s = interval_s
        self._sequence = 0

    async def run(self) -> None:
        """Announce until cancelled. Changes that come while one is sent are told together."""
        await self._identity.bound.wait()
        with self._changes.watched() as changed:
            while True:
                await self.announce()
                await awoken(changed, self._interval_s)

    async def announce(self, *, leaving: bool = False) -> None:
        """Announce now; `leaving` is the last word."""
        self._sequence += 1
        message = pb.WorkerAnnouncement(
            worker=self._identity.worker(), sequence=self._sequence, leaving=leaving
        )
        subject = subjects.worker_announced(self._identity.worker_id)
        await self._bus.announce(subject, message.SerializeToString())

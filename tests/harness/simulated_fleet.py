"""Workers, a bus and a registry in virtual time: what a gateway hears of a fleet, lost, late and out of order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from servemesh.errors import UnavailableError
from servemesh.gateway.domain.fleet import Fleet, Slot, SlotState, Worker
from servemesh.gateway.domain.membership import Patience
from servemesh.gateway.service.fleet_watch import Announcement
from tests.harness.simulation import History

PATIENCE = Patience()
ANNOUNCE_S = 1.0
RENEW_S = 2.0
LEASE_S = 10.0
STATES = tuple(SlotState)


class SimulatedWorker:
    """One worker, which may die and come back as another incarnation."""

    def __init__(self, world: World, number: int) -> None:
        self._world = world
        self.worker_id = f"w{number}"
        self.address = f"127.0.0.1:{20_000 + number}"
        self.generation = 0
        self.sequence = 0
        self.is_alive = True
        self.is_draining = False
        self.slots: tuple[Slot, ...] = ()

    @property
    def incarnation(self) -> str:
        return f"{self.worker_id}-{self.generation}"

    def value(self) -> Worker:
        return Worker(
            worker_id=self.worker_id,
            incarnation=self.incarnation,
            address=self.address,
            is_draining=self.is_draining,
            slots=self.slots,
        )

    def announce(self, *, is_leaving: bool = False) -> None:
        if self.is_alive:
            self.sequence += 1
            self._world.send(Announcement(worker=self.value(), sequence=self.sequence, is_leaving=is_leaving))

    def change(self) -> None:
        chance = self._world.history.chance
        states = {model: chance.choice(STATES) for model in ("a", "b") if chance.random() < 0.8}
        self.slots = tuple(
            Slot(model=model, version_id=1, state=state, is_default=True) for model, state in states.items()
        )
        self.announce()

    def drain(self) -> None:
        self.is_draining = True
        self.announce()

    def leave(self) -> None:
        self.announce(is_leaving=True)
        self._world.leases.pop(self.worker_id, None)
        self.is_alive = False

    def die(self) -> None:
        self.is_alive = False

    def start(self) -> None:
        """Start anew; the old process is gone."""
        self.generation += 1
        self.sequence = self._world.history.chance.choice(
            [0, 100]
        )  # one that has been there for long has said much
        self.is_alive, self.is_draining, self.slots = True, False, ()
        self.announce()
        self.renew()

    def renew(self) -> None:
        world = self._world
        if self.is_alive and not world.is_registry_away:
            world.leases[self.worker_id] = (self.value(), world.now_s + LEASE_S)


class World:
    """Everything outside the gateway, as Feed and Listing."""

    def __init__(self, history: History, loop: asyncio.AbstractEventLoop) -> None:
        self.history = history
        self.loop = loop
        self.is_bus_away = False
        self.is_registry_away = False
        self.is_calm = False
        self.bus_lost_s = 0.0
        self.bus_back_s = -1e9
        self.table = Fleet()  # what the gateway knows
        self.leases: dict[str, tuple[Worker, float]] = {}
        self.goodbyes: set[str] = set()
        self.heard_s: dict[str, float] = {}
        self._said: dict[str, list[Worker]] = {}
        self._newest: dict[str, int] = {}
        self._inbox: asyncio.Queue[Announcement] | None = None
        self.workers = [SimulatedWorker(self, number) for number in range(history.chance.randint(1, 3))]
        for worker in self.workers:
            worker.start()

    @property
    def now_s(self) -> float:
        return self.loop.time()

    async def beat(self) -> None:
        """Have everybody announce itself and renew its lease, for ever."""
        turn = 0
        while True:
            await asyncio.sleep(ANNOUNCE_S)
            turn += 1
            for worker in self.workers:
                worker.announce()
                if turn % int(RENEW_S / ANNOUNCE_S) == 0:
                    worker.renew()
            if not self.is_registry_away:  # one that is away lets nobody's lease run out
                self.leases = {id_: kept for id_, kept in self.leases.items() if kept[1] > self.now_s}

    def event(self) -> None:
        """Let something happen."""
        worker = self.history.chance.choice(self.workers)
        happenings: list[Callable[[], None]] = [worker.change] * 3 if worker.is_alive else [worker.start] * 2
        if worker.is_alive:
            happenings += [worker.drain, worker.leave, worker.die, worker.start]
        happenings += [self._turn_bus, self._turn_registry]
        happening = self.history.chance.choice(happenings)
        self.history.tell(happening.__name__, worker.incarnation)
        happening()

    def calm(self) -> str:
        """Nothing fails any more but one of the two sources, or none; return which."""
        away = self.history.chance.choice(["bus", "registry", "nothing"])
        self.is_calm = True
        self._bus(away == "bus")
        self.is_registry_away = away == "registry"
        self.history.tell("calm,", away, "away")
        return away

    def send(self, announcement: Announcement) -> None:
        """Publish; it may be lost or late."""
        if self.is_bus_away or (self.history.happens(0.1) and not self.is_calm):
            return
        delay_s = self.history.chance.choice([0.0, 0.01, 0.02] if self.is_calm else [0.0, 0.02, 0.02, 1.5])
        self.loop.call_later(delay_s, self._deliver, announcement)

    def believable(self, worker_id: str, incarnation: str) -> list[Worker]:
        """What may be believed of a worker now: its newest announcement, and what was listed since."""
        return self._said.get(incarnation, [])

    def forget(self, kept: Fleet) -> None:
        """A gateway begins that knows nothing but what was kept."""
        self._newest = {}
        self.heard_s = {}
        self._said = {worker.incarnation: [worker] for worker in kept.workers}

    def _deliver(self, announcement: Announcement) -> None:
        if self._inbox is not None and not self.is_bus_away:
            self._inbox.put_nowait(announcement)

    def _note(self, announcement: Announcement) -> None:
        worker = announcement.worker
        if announcement.is_leaving:
            self.goodbyes.add(worker.incarnation)
            return
        known = self.table.by_id.get(worker.worker_id)
        is_known = known is not None and known.incarnation == worker.incarnation
        if not is_known or announcement.sequence > self._newest.get(worker.incarnation, 0):
            self.heard_s[worker.incarnation] = self.now_s
            self._newest[worker.incarnation] = announcement.sequence
            self._said[worker.incarnation] = [worker]
        self.history.tell("heard", worker.incarnation, announcement.sequence)

    def _turn_bus(self) -> None:
        self._bus(not self.is_bus_away)

    def _bus(self, is_away: bool) -> None:
        if is_away and not self.is_bus_away:
            self.bus_lost_s = self.now_s
        if self.is_bus_away and not is_away:
            self.bus_back_s = self.now_s
        self.is_bus_away = is_away

    def _turn_registry(self) -> None:
        self.is_registry_away = not self.is_registry_away

    # --- Feed ------------------------------------------------------------------------------------

    @asynccontextmanager
    async def announcements(self) -> AsyncIterator[AsyncIterator[Announcement]]:
        inbox = self._inbox = asyncio.Queue()

        async def heard() -> AsyncIterator[Announcement]:
            while True:
                announcement = await inbox.get()
                self._note(announcement)
                yield announcement

        try:
            yield heard()
        finally:
            self._inbox = None

    @asynccontextmanager
    async def registry_facts(self) -> AsyncIterator[AsyncIterator[object]]:
        async def facts() -> AsyncIterator[object]:
            await asyncio.Event().wait()
            yield None

        yield facts()

    async def ping(self) -> None:
        await asyncio.sleep(0.01)
        if self.is_bus_away:
            raise UnavailableError("the bus is away")

    # --- Listing ---------------------------------------------------------------------------------

    async def workers_listed(self) -> tuple[Worker, ...]:
        if self.is_registry_away:
            raise UnavailableError("the registry is away")
        listed = tuple(worker for worker, _ in self.leases.values())
        await asyncio.sleep(0.01)
        for worker in listed:
            if not self._counts_more_than_what_was_said(worker.incarnation):
                continue
            self._said.setdefault(worker.incarnation, []).append(worker)
        return listed

    def _counts_more_than_what_was_said(self, incarnation: str) -> bool:
        """Whether a gateway may believe a listing of a worker that it has heard itself."""
        silence_s = self.now_s - self.heard_s.get(incarnation, -1e9)
        is_bus_doubtful = self.is_bus_away or self.now_s - self.bus_back_s < 2.0
        return silence_s > PATIENCE.silence_s - 0.1 or is_bus_doubtful

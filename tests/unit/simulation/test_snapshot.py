"""Histories of a fleet as a gateway sees it: what the edge is told is never worse than what could be known."""

from __future__ import annotations

import asyncio

import pytest

from servemesh.gateway.domain.fleet import Fleet
from servemesh.gateway.domain.membership import Membership
from servemesh.gateway.domain.snapshot.building import snapshot_of
from servemesh.gateway.domain.snapshot.policy import EdgePolicy
from servemesh.gateway.domain.snapshot.values import Snapshot, parse_address
from servemesh.gateway.domain.traffic import Traffic
from servemesh.lifecycle import background
from tests.harness.fleets import neighbours
from tests.harness.simulated_fleet import PATIENCE, World
from tests.harness.simulated_gateway import GatewayLife
from tests.harness.simulation import History, VirtualLoop, explore, replay

HISTORIES = 400
EVENTS_MAX = 12
CALM_S = 26.0  # a silence, a lease, a listing that grows old


class Judge:
    """Looks at every state of the table that the edge is told of."""

    def __init__(self, history: History, world: World) -> None:
        self._history = history
        self._world = world
        self._fleet = Fleet()

    def begins(self, fleet: Fleet) -> None:
        """Another life of the gateway begins with what it has kept."""
        self._fleet = self._world.table = fleet

    def changed(self, membership: Membership, traffic: Traffic) -> None:
        before = self._fleet
        self._fleet = self._world.table = membership.fleet
        assert self._fleet.revision >= before.revision, "a revision goes back"
        if self._fleet.revision == before.revision:
            assert self._fleet.by_id == before.by_id, "a change without a revision"
        for worker_id in before.by_id.keys() - self._fleet.by_id.keys():
            self._history.tell("table: without", worker_id)
            self._check_gone(worker_id, before.by_id[worker_id].incarnation)
        self._check_routes()

    def _check_gone(self, worker_id: str, incarnation: str) -> None:
        world = self._world
        if incarnation in world.goodbyes:
            return
        silence_s = world.now_s - world.heard_s.get(incarnation, -1e9)
        assert silence_s > PATIENCE.silence_s, f"{incarnation} spoke {silence_s:.2f} s ago, and goes"
        away_s = world.now_s - world.bus_lost_s if world.is_bus_away else 0.0
        assert away_s <= PATIENCE.bus_gap_s + 1.0, f"{worker_id} goes although the bus is away"

    def _check_routes(self) -> None:
        snapshot = snapshot_of(self._fleet, Traffic(), neighbours(), EdgePolicy())
        turned = Fleet(revision=0, by_id=dict(reversed(self._fleet.by_id.items())))
        assert snapshot_of(turned, Traffic(), neighbours(), EdgePolicy()) == snapshot, "order matters"
        for worker in self._fleet.by_id.values():
            said = self._world.believable(worker.worker_id, worker.incarnation)
            assert worker in said, f"{worker} was never said since"
            routed = _routed(snapshot, worker.address)
            ready = {
                f"{slot.model}/{slot.version_id}" for slot in worker.slots if slot.state.value == "READY"
            }
            assert not routed - ready, f"routed and not READY: {routed - ready}"
            assert not (worker.is_draining and routed), f"{worker.worker_id} drains and is routed"


def _routed(snapshot: Snapshot, address: str) -> set[str]:
    assert snapshot.endpoints is not None
    return {
        slot
        for endpoint in snapshot.endpoints
        if endpoint.address == parse_address(address)
        for slot in endpoint.slots
    }


async def fleet_as_seen(history: History) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    world = World(history, loop)
    judge = Judge(history, world)
    async with background(world.beat):
        gateway = GatewayLife(world, judge.changed)
        for _ in range(history.chance.randint(1, 3)):
            judge.begins(gateway.fleet)
            async with gateway.running():
                for _ in range(history.chance.randint(1, EVENTS_MAX)):
                    world.event()
                    await asyncio.sleep(history.chance.choice([0.01, 0.3, 1.0, 6.0]))
            history.tell("the gateway starts anew")
            gateway = gateway.next()
        judge.begins(gateway.fleet)
        async with gateway.running():
            away = world.calm()
            await asyncio.sleep(CALM_S)
            _check_truth(world, gateway.fleet, away)


def _check_truth(world: World, fleet: Fleet, away: str) -> None:
    """In calm the table says what is, whichever one of the two sources is there."""
    truth = {worker.worker_id: worker.value() for worker in world.workers if worker.is_alive}
    known = dict(fleet.by_id)
    if away == "bus":  # who is silent may be alive
        known = {worker_id: worker for worker_id, worker in known.items() if worker_id in truth}
    assert known == truth, f"{away} away: known {known}, true {truth}"


@pytest.mark.timeout(420)
def test_the_edge_is_told_what_is_known_and_the_truth_in_the_end() -> None:
    explore(fleet_as_seen, histories=HISTORIES)


# 464: a new process that the registry told of was ignored until it had said as much as its predecessor.
@pytest.mark.parametrize("seed", [464])
def test_a_history_that_found_a_bug(seed: int) -> None:
    replay(fleet_as_seen, seed)

"""What the edge publishes of a fleet that changes."""

from __future__ import annotations

import asyncio
import time

from servemesh.gateway.domain.fleet import Fleet, Worker
from servemesh.gateway.domain.membership import Membership
from servemesh.gateway.domain.snapshot.policy import EdgePolicy
from servemesh.gateway.domain.snapshot.values import Snapshot
from servemesh.gateway.domain.traffic import Traffic
from servemesh.gateway.service.edge import Edge
from servemesh.gateway.service.fleet_view import LiveFleet
from servemesh.gateway.service.publication import Publication
from servemesh.lifecycle import background
from tests.harness.fleets import neighbours


class MemoryShelf:
    """Keeps the last snapshot."""

    def __init__(self) -> None:
        self.kept: Snapshot | None = None

    async def keep(self, fleet: Fleet, traffic: Traffic, snapshot: Snapshot) -> None:
        self.kept = snapshot


def member(*, is_draining: bool = False) -> Membership:
    worker = Worker(worker_id="w", incarnation="i", address="127.0.0.1:1", is_draining=is_draining)
    return Membership(fleet=Fleet(revision=1, by_id={"w": worker}), is_restored=True)


def an_edge(publication: Publication) -> Edge:
    return Edge(
        LiveFleet(),
        publication,
        MemoryShelf(),
        neighbours=neighbours(),
        policy=EdgePolicy(),
        clock=time.monotonic,
    )


async def test_the_first_state_is_published_at_once() -> None:
    publication = Publication()
    an_edge(publication).become(Membership(), Traffic())
    assert publication.snapshot is not None
    assert publication.snapshot.endpoints is None


async def test_states_that_follow_each_other_are_published_as_the_last_of_them() -> None:
    publication = Publication()
    edge = an_edge(publication)
    edge.become(Membership(), Traffic())
    first = publication.snapshot
    async with background(edge.publish), asyncio.timeout(5):
        edge.become(member(is_draining=True), Traffic())
        edge.become(member(), Traffic())
        assert publication.snapshot is first
        newest = await publication.changed_from(first)
    assert len(newest.endpoints or ()) == 1

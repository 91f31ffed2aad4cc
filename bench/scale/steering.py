"""What the fleet costs a gateway, and what it sends to its Envoys."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from bench.scale import fleet
from bench.scale.figures import Figure, timed_ms
from bench.scale.fleet import Size
from servemesh.api.fleet.v1 import fleet_pb2
from servemesh.gateway.adapters.fleet_messages import message_of, worker_of
from servemesh.gateway.adapters.snapshot_file import StateFolder
from servemesh.gateway.adapters.xds_messages import ENDPOINTS, Tables, tables_of
from servemesh.gateway.adapters.xds_subscriptions import Request, Subscriptions
from servemesh.gateway.domain.fleet import Fleet
from servemesh.gateway.domain.membership import Membership, Patience
from servemesh.gateway.domain.snapshot.building import snapshot_of
from servemesh.gateway.domain.snapshot.cutting import parts_of
from servemesh.gateway.domain.snapshot.policy import EdgePolicy
from servemesh.gateway.domain.snapshot.values import Neighbours, Snapshot, parse_address
from servemesh.gateway.domain.traffic import Traffic

ANNOUNCEMENTS_PER_S, RENEWALS_PER_S, CHECKS_PER_S = 2.0, 0.5, 2.0
HEARD = 1_000


def neighbours() -> Neighbours:
    """Return what is around: nobody answers there."""
    return Neighbours(
        edge=parse_address("127.0.0.1:8001"),
        gateways=(parse_address("127.0.0.1:8003"),),
        registries=(parse_address("127.0.0.1:8004"),),
    )


def snapshot(seen: Fleet) -> Snapshot:
    """Return what follows from a fleet."""
    return snapshot_of(seen, Traffic(), neighbours(), EdgePolicy())


def figures(size: Size) -> Iterator[Figure]:
    """Time a gateway's own code, and count what it and the workers send."""
    seen = fleet.seen_fleet(size)
    made = snapshot(seen)
    yield from _sizes(seen, made)
    yield Figure(
        what="snapshot out of the fleet",
        value=timed_ms(lambda: snapshot(seen)),
        unit="ms",
        meaning="once for each change",
    )
    yield Figure(
        what="snapshot into xDS messages",
        value=timed_ms(_each_change_once(seen)),
        unit="ms",
        meaning="once for each change, for all Envoys",
    )
    yield _pushed(size, made, snapshot(with_one_change(seen)))
    with tempfile.TemporaryDirectory() as folder:
        shelf = StateFolder(Path(folder))
        kept = timed_ms(lambda: shelf._keep(seen, Traffic(), made), times=3)
    yield Figure(
        what="the last state onto disk", value=kept, unit="ms", meaning="in a thread, after a change"
    )
    yield from _heartbeats(size, seen, sum(map(len, parts_of(made.endpoints or (), made.cuts[0]))))


def _sizes(seen: Fleet, made: Snapshot) -> Iterator[Figure]:
    places = [len(part) for part in parts_of(made.endpoints or (), made.cuts[0])]
    size_bytes = sum(len(resource.value) for resource in tables_of(made)[ENDPOINTS].resources.values())
    yield Figure(
        what="snapshot: endpoints with what they hold",
        value=size_bytes / 1e6,
        unit="MB",
        meaning=f"in {len(places)} clusters; a worker is in {sum(places) / len(seen.by_id):.2f} of them",
    )


def _each_change_once(seen: Fleet) -> Callable[[], object]:
    """Return what makes the messages of another change each time it is called."""
    changes = (snapshot(with_one_change(seen, number)) for number in itertools.count())
    ahead = [next(changes) for _ in range(5)]
    return lambda: tables_of(ahead.pop())


def _pushed(size: Size, before: Snapshot, after: Snapshot) -> Figure:
    tables = tables_of(before), tables_of(after)
    envoys = [Subscriptions() for _ in range(size.envoys)]
    for envoy in envoys:
        envoy.received(Request(type_url=ENDPOINTS), tables[0])
        _answered(envoy, tables[0])
    start_s = time.process_time()
    sent_bytes = sum(_answered(envoy, tables[1]) for envoy in envoys)
    return Figure(
        what=f"the answers for {size.envoys} Envoys",
        value=(time.process_time() - start_s) * 1e3,
        unit="ms",
        meaning=f"{sent_bytes / 1e6:,.1f} MB to be sent for each change that is pushed",
    )


def _answered(envoy: Subscriptions, tables: Tables) -> int:
    return sum(len(response.SerializeToString()) for response in envoy.due(tables, now=0.0))


def _heartbeats(size: Size, seen: Fleet, places: int) -> Iterator[Figure]:
    messages = [
        fleet_pb2.WorkerAnnouncement(worker=message_of(worker), sequence=2).SerializeToString()
        for worker in seen.workers[:HEARD]
    ]
    message_bytes = sum(map(len, messages)) / len(messages)
    per_s = size.workers * ANNOUNCEMENTS_PER_S
    yield Figure(
        what="announcements of workers",
        value=per_s * message_bytes / 1e6,
        unit="MB/s",
        meaning=f"{per_s:,.0f} messages of {message_bytes:,.0f} bytes a second, to each gateway",
    )
    heard_us = timed_ms(lambda: _heard(seen, messages)) / len(messages) * 1e3
    yield Figure(
        what="hearing one announcement that changes nothing",
        value=heard_us,
        unit="µs",
        meaning=f"{per_s * heard_us / 1e4:.0f} % of a core of each gateway, without the bus",
    )
    yield Figure(
        what="renewals of leases",
        value=size.workers * RENEWALS_PER_S,
        unit="calls/s",
        meaning="each writes a row of the registry's database",
    )
    yield Figure(
        what="Envoys' health checks at each worker",
        value=size.envoys * CHECKS_PER_S * places / size.workers,
        unit="calls/s",
        meaning=f"{size.envoys * places * CHECKS_PER_S:,.0f} in the whole mesh",
    )


def _heard(seen: Fleet, messages: list[bytes]) -> None:
    membership, patience = Membership(fleet=seen), Patience()
    for message, number in zip(messages, itertools.count(), strict=False):
        heard = fleet_pb2.WorkerAnnouncement.FromString(message)
        membership = membership.announced(
            worker_of(heard.worker), sequence=heard.sequence, now=float(number), patience=patience
        )
    assert membership.fleet.revision == seen.revision


def with_one_change(seen: Fleet, number: int = 0) -> Fleet:
    """Return a fleet in which one worker has lost one slot."""
    worker = seen.workers[number]
    changed = replace(worker, slots=worker.slots[1:])
    return Fleet(revision=seen.revision + 1, by_id={**seen.by_id, worker.worker_id: changed})

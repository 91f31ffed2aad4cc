"""Facts travel from the store to the broker, whatever befalls the broker; on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from servemesh.api.events.v1 import events_pb2 as pb
from servemesh.events.nats_bus import NatsBus
from servemesh.events.ports import Bus
from servemesh.events.settings import BusSettings
from servemesh.lifecycle import background
from servemesh.registry.domain.fleet import SlotState
from servemesh.registry.domain.placement import CRASHED
from servemesh.registry.service.duties import SoleDuty
from servemesh.registry.service.relay import Relay, RelaySettings
from tests.harness.nats_server import NatsServer
from tests.harness.registry import MovedClock, RegistryParts, a_worker, holding, parts, registry_at
from tests.harness.waiting import eventually


def a_relay(registry: RegistryParts, bus: Bus, holder: str = "one", takeover_s: float = 0.0) -> Relay:
    duty = SoleDuty(registry.store, registry.clock, "relay", holder, term_s=9.0, takeover_s=takeover_s)
    return Relay(registry.store, registry.clock, registry.changes, bus, duty, RelaySettings(interval_s=0.02))


@asynccontextmanager
async def heard(bus: Bus) -> AsyncIterator[dict[str, tuple[str, pb.Event]]]:
    """What a consumer has read so far, by event id, in the order of first arrival."""
    events: dict[str, tuple[str, pb.Event]] = {}

    async def read() -> None:
        async with bus.consume(
            "test", subjects=["servemesh.v1.registry.>", "servemesh.v1.fleet.worker.*.*"]
        ) as deliveries:
            async for delivery in deliveries:
                event = pb.Event.FromString(delivery.data)
                assert delivery.message_id == event.event_id
                events.setdefault(event.event_id, (delivery.subject, event))
                await delivery.ack()

    async with background(read):
        yield events


async def sent(registry: RegistryParts) -> bool:
    async with registry.store.reading() as tx:
        return not await tx.outbox.list_unsent(limit=1)


async def test_each_change_is_told_once_and_in_order(registry: RegistryParts) -> None:
    await registry.push("iris")
    await registry.aliases.set("iris", "prod", 1, "")
    await registry.deployments.create("iris")
    await registry.leases.renew(a_worker("w1"))
    await registry.leases.end("w1", a_worker("w1").incarnation)
    await registry.aliases.set("iris", "prod", 1, "")
    bus = registry.bus
    async with heard(bus) as events, background(a_relay(registry, bus).run):
        await eventually(lambda: len(events) == 7)
    assert [subject.removeprefix("servemesh.v1.") for subject, _ in events.values()] == [
        "registry.model.created.iris",
        "registry.version.created.iris",
        "registry.alias.moved.iris",
        "registry.deployment.created.iris",
        "fleet.worker.joined.w1",
        "fleet.worker.left.w1",
        "registry.alias.moved.iris",
    ]
    moves = [event for _, event in events.values() if event.WhichOneof("fact") == "alias_moved"]
    assert [event.revision for event in moves] == [1, 2]
    assert moves[0].resource == "models/iris/aliases/prod"
    assert moves[0].alias_moved.version == "models/iris/versions/1"


async def test_a_version_that_a_worker_died_of_is_told_once_by_each_worker_that_gives_it_up(
    registry: RegistryParts,
) -> None:
    await registry.push("iris")
    await registry.deployments.create("iris")
    held = holding(a_worker("w1"), ("iris", 1), state=SlotState.FAILED)
    given_up = replace(held, slots=tuple(replace(slot, reason=CRASHED) for slot in held.slots))
    for worker in (a_worker("w1"), given_up, given_up):
        await registry.leases.renew(worker)
    bus = registry.bus
    async with heard(bus) as events, background(a_relay(registry, bus).run):
        await eventually(lambda: len(events) == 5)
    (told,) = (
        event for _, event in events.values() if event.WhichOneof("fact") == "model_version_quarantined"
    )
    assert told.resource == told.model_version_quarantined.version == "models/iris/versions/1"


async def test_a_refused_change_tells_nothing(registry: RegistryParts) -> None:
    with pytest.raises(Exception, match="does not exist"):
        await registry.aliases.set("iris", "prod", 1, "")
    assert await sent(registry)


async def test_facts_wait_for_a_broker_that_is_away(registry: RegistryParts) -> None:
    bus = registry.bus
    bus.disconnect()
    async with heard(bus) as events, background(a_relay(registry, bus).run):
        for number in range(5):
            await registry.catalog.create_model(f"m{number}", "", {})
        assert not await sent(registry)
        bus.reconnect()
        await eventually(lambda: len(events) == 5)
    assert [event.resource for _, event in events.values()] == [f"models/m{number}" for number in range(5)]


async def test_confirmed_facts_are_published_again_when_the_broker_lost_them(registry: RegistryParts) -> None:
    bus = registry.bus
    async with background(a_relay(registry, bus).run):
        for number in range(5):
            await registry.catalog.create_model(f"m{number}", "", {})
        await eventually(lambda: sent(registry))
        bus.disconnect()
        bus.lose_history()
        bus.reconnect()
        async with heard(bus) as events:
            await eventually(lambda: len(events) == 5)


async def test_confirmed_facts_are_kept_for_a_while_and_then_forgotten(registry: RegistryParts) -> None:
    await registry.catalog.create_model("iris", "", {})
    relay = a_relay(registry, registry.bus)
    await relay.relay()
    for length_s, is_kept in ((540.0, True), (70.0, False)):
        registry.clock.advance(length_s)
        await relay.check()
        async with registry.store.reading() as tx:
            assert (await tx.outbox.find_newest_sent() is not None) is is_kept


async def test_one_registry_relays_until_it_falls_silent(database_url: str) -> None:
    clock = MovedClock()
    async with registry_at(database_url) as base:
        one = parts(base.store, clock=clock)
        first = SoleDuty(one.store, clock, "relay", "first", term_s=9.0, takeover_s=9.0)
        second = SoleDuty(one.store, clock, "relay", "second", term_s=9.0, takeover_s=9.0)
        assert await first.holds()
        assert not await second.holds()
        clock.advance(5)
        assert await first.holds()
        assert not await second.holds()
        clock.advance(8.9)
        assert not await second.holds()
        clock.advance(0.2)
        assert await second.holds()
        assert not await first.holds()


async def test_facts_reach_a_real_broker_that_is_killed_on_the_way(
    tmp_path: Path, own_nats_server: NatsServer
) -> None:
    async with (
        registry_at(f"sqlite:///{tmp_path / 'registry.db'}") as registry,
        NatsBus.running(BusSettings(url=own_nats_server.url)) as bus,
        heard(bus) as events,
        background(a_relay(registry, bus).run),
    ):
        for number in range(60):
            if number == 30:
                own_nats_server.kill()
            if number == 45:
                await asyncio.to_thread(own_nats_server.start)
            await registry.catalog.create_model(f"m{number}", "", {})
            await registry.catalog.update_model(f"m{number % 10}", "", "changed", None)
        await eventually(lambda: len(events) == 120, timeout_s=30)
    by_resource: dict[str, list[int]] = {}
    for _, event in events.values():
        by_resource.setdefault(event.resource, []).append(event.revision)
    for revisions in by_resource.values():
        assert all(before < after for before, after in pairwise(revisions))

"""The contract of the event bus, on the bus in memory and on a real nats-server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from servemesh.errors import InvalidError, UnavailableError
from servemesh.events.memory import MemoryBus
from servemesh.events.nats_bus import NatsBus
from servemesh.events.ports import Bus, Delivery
from servemesh.events.settings import BusSettings, StreamSettings
from servemesh.events.subjects import registry_fact, worker_announced
from tests.harness.nats_server import NatsServer, running_nats
from tests.harness.waiting import eventually

FACT = registry_fact("model", "created", "iris")


@dataclass
class Broker:
    """A bus, and what befalls its broker."""

    bus: Bus
    kill: Callable[[], None]
    start: Callable[[], None]


@pytest.fixture
def nats_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "own-nats"
    folder.mkdir()
    return folder


@pytest.fixture(params=["memory", "nats"])
async def broker(request: pytest.FixtureRequest, nats_folder: Path) -> AsyncIterator[Broker]:
    if request.param == "memory":
        memory = MemoryBus()
        yield Broker(memory, memory.disconnect, memory.reconnect)
        return
    with running_nats(nats_folder) as server:
        async with NatsBus.running(BusSettings(url=server.url)) as bus, asyncio.timeout(30):
            await bus.connected()
            yield Broker(bus, server.kill, server.start)


async def _away(broker: Broker) -> None:
    broker.kill()
    await eventually(lambda: not broker.bus.is_connected)


async def _back(broker: Broker) -> None:
    broker.start()
    await asyncio.wait_for(broker.bus.connected(), 10)


class TestAnnouncements:
    async def test_reach_who_listens(self, broker: Broker) -> None:
        async with broker.bus.subscribe(worker_announced("*")) as heard:
            await broker.bus.announce(worker_announced("w1"), b"here")
            message = await asyncio.wait_for(anext(aiter(heard)), 5)
        assert (message.subject, message.data) == (worker_announced("w1"), b"here")

    async def test_do_not_reach_listeners_of_other_subjects(self, broker: Broker) -> None:
        async with broker.bus.subscribe(worker_announced("w1")) as heard:
            await broker.bus.announce(worker_announced("w2"), b"no")
            await broker.bus.announce(worker_announced("w1"), b"yes")
            assert (await asyncio.wait_for(anext(aiter(heard)), 5)).data == b"yes"

    async def test_drop_the_oldest_and_count_them_when_the_reader_is_slow(self, broker: Broker) -> None:
        async with broker.bus.subscribe(worker_announced("w1"), queue_max=2) as heard:
            for number in range(5):
                await broker.bus.announce(worker_announced("w1"), b"%d" % number)
            await eventually(lambda: heard.dropped == 3)
            assert [(await anext(aiter(heard))).data for _ in range(2)] == [b"3", b"4"]

    async def test_are_dropped_in_silence_while_the_broker_is_away(self, broker: Broker) -> None:
        async with broker.bus.subscribe(worker_announced("w1")) as heard:
            await _away(broker)
            await broker.bus.announce(worker_announced("w1"), b"lost")
            await _back(broker)
            await broker.bus.announce(worker_announced("w1"), b"heard")
            assert (await asyncio.wait_for(anext(aiter(heard)), 5)).data == b"heard"


class TestFacts:
    async def test_are_stored_once_per_message_id_also_over_a_crash(self, broker: Broker) -> None:
        first = await broker.bus.publish(FACT, b"1", message_id="a")
        await _away(broker)
        await _back(broker)
        again = await broker.bus.publish(FACT, b"1", message_id="a")
        other = await broker.bus.publish(FACT, b"2", message_id="b")
        assert (first.duplicate, again.duplicate, other.duplicate) == (False, True, False)
        assert (first.sequence, other.sequence) == (1, 2)

    async def test_can_be_inspected(self, broker: Broker) -> None:
        before = await broker.bus.stream_state()
        receipt = await broker.bus.publish(FACT, b"1", message_id="a")
        after = await broker.bus.stream_state()
        assert before.create_time == after.create_time
        assert after.last_sequence == receipt.sequence == 1
        assert await broker.bus.find_message_id(1) == "a"
        assert await broker.bus.find_message_id(2) is None

    async def test_cannot_be_published_while_the_broker_is_away(self, broker: Broker) -> None:
        connections = broker.bus.connections
        await _away(broker)
        with pytest.raises(UnavailableError):
            await broker.bus.publish(FACT, b"1", message_id="a")
        with pytest.raises(UnavailableError):
            await broker.bus.ping()
        await _back(broker)
        await broker.bus.ping()
        assert broker.bus.connections > connections

    async def test_are_refused_on_a_subject_that_the_stream_does_not_store(self, broker: Broker) -> None:
        with pytest.raises(InvalidError, match="subject is"):
            await broker.bus.publish(worker_announced("w1"), b"", message_id="a")

    async def test_are_refused_when_they_are_too_large(self, broker: Broker) -> None:
        too_large = bytes(StreamSettings().message_bytes_max + 1)
        with pytest.raises(InvalidError, match="data has"):
            await broker.bus.publish(FACT, too_large, message_id="a")


class TestConsumers:
    async def test_get_only_what_they_asked_for_in_order(self, broker: Broker) -> None:
        for number in range(3):
            await broker.bus.publish(FACT, b"%d" % number, message_id=str(number))
            await broker.bus.publish(registry_fact("alias", "moved", "iris"), b"", message_id=f"x{number}")
        async with broker.bus.consume("c", subjects=["servemesh.v1.registry.model.>"]) as deliveries:
            got = [await _acked(deliveries) for _ in range(3)]
        assert got == [b"0", b"1", b"2"]

    async def test_keep_their_place(self, broker: Broker) -> None:
        for number in range(2):
            await broker.bus.publish(FACT, b"%d" % number, message_id=str(number))
            async with broker.bus.consume("c", subjects=[FACT]) as deliveries:
                assert await _acked(deliveries) == b"%d" % number

    async def test_get_again_what_they_did_not_do(self, broker: Broker) -> None:
        await broker.bus.publish(FACT, b"1", message_id="a")
        async with broker.bus.consume("c", subjects=[FACT]) as deliveries:
            first = await asyncio.wait_for(anext(deliveries), 5)
            await first.nak()
            again = await asyncio.wait_for(anext(deliveries), 5)
            await again.ack()
        assert (first.delivered_count, again.delivered_count) == (1, 2)
        assert (again.message_id, again.sequence) == ("a", 1)

    async def test_get_again_what_was_not_settled_in_time(self, broker: Broker) -> None:
        await broker.bus.publish(FACT, b"1", message_id="a")
        async with broker.bus.consume("c", subjects=[FACT], ack_wait_s=0.5) as deliveries:
            await asyncio.wait_for(anext(deliveries), 5)
            assert await _acked(deliveries) == b"1"

    async def test_go_on_after_the_broker_was_killed(self, broker: Broker) -> None:
        async with broker.bus.consume("c", subjects=[FACT]) as deliveries, asyncio.TaskGroup() as group:
            await broker.bus.publish(FACT, b"1", message_id="a")
            assert await _acked(deliveries) == b"1"
            waiting = group.create_task(_acked_until(deliveries, b"2"))
            await _away(broker)
            await _back(broker)
            await broker.bus.publish(FACT, b"2", message_id="b")
            # At least once: an ack of just before the crash may be forgotten.
            assert set(await asyncio.wait_for(waiting, 20)) <= {b"1", b"2"}

    async def test_can_be_cancelled_while_the_broker_is_away(self, broker: Broker) -> None:
        await _away(broker)
        async with broker.bus.consume("c", subjects=[FACT]) as deliveries:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(deliveries), 0.1)
        await _back(broker)


async def test_a_bus_opens_while_its_server_is_down_and_connects_when_it_comes(
    own_nats_server: NatsServer,
) -> None:
    own_nats_server.stop()
    async with NatsBus.running(BusSettings(url=own_nats_server.url)) as bus:
        assert not bus.is_connected
        async with bus.subscribe("early") as heard:
            own_nats_server.start()
            await asyncio.wait_for(bus.connected(), 10)
            await bus.announce("early", b"bird")
            assert (await asyncio.wait_for(anext(aiter(heard)), 5)).data == b"bird"


async def test_a_stream_with_other_settings_is_brought_up_to_date(own_nats_server: NatsServer) -> None:
    for size_bytes_max in (2**20, 2**21):
        settings = BusSettings(url=own_nats_server.url, stream=StreamSettings(size_bytes_max=size_bytes_max))
        async with NatsBus.running(settings) as bus:
            await bus.connected()
            await bus.publish(FACT, b"", message_id=str(uuid4()))
            assert (await bus.stream_state()).last_sequence >= 1


async def _acked(deliveries: AsyncIterator[Delivery]) -> bytes:
    delivery = await asyncio.wait_for(anext(deliveries), 10)
    await delivery.ack()
    return delivery.data


async def _acked_until(deliveries: AsyncIterator[Delivery], last: bytes) -> list[bytes]:
    got = [await _acked(deliveries)]
    while got[-1] != last:
        got.append(await _acked(deliveries))
    return got

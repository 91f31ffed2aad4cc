"""Alerting end to end on a real store of measurements and a real database: looked at, kept, delivered, watched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from servemesh.errors import ConflictError, InvalidError, MissingError, OverloadedError
from servemesh.lifecycle import background
from servemesh.metrics.domain.alerting.alerts import State
from servemesh.metrics.domain.alerting.judging import Shortage
from servemesh.metrics.domain.alerting.rules import CapacityForecast
from servemesh.metrics.service.delivering import Delivering, DeliverySettings
from servemesh.paging import page_request
from servemesh.requests import RequestKey
from tests.harness.alerting import RETRY, Service, alerting_in, rules
from tests.harness.simulated_alerts import a_rule
from tests.harness.waiting import eventually


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with alerting_in(tmp_path) as made:
        yield made


async def test_alerts_of_a_group_are_one_delivery_and_so_is_their_end(service: Service):
    service.values = {"a": 2.0, "b": 3.0, "calm": 0.0}
    assert await service.look() == [("a", State.FIRING), ("b", State.FIRING)]
    assert service.receiver.told == []
    await service.look()
    assert service.receiver.told == [[("a", State.FIRING), ("b", State.FIRING)]]
    service.values = {"a": 0.0, "b": 0.0}
    for _ in range(8):
        await service.look()
    assert service.receiver.told[1:] == [[("a", State.RESOLVED), ("b", State.RESOLVED)]]


async def test_alerts_survive_the_end_of_the_process(tmp_path: Path):
    async with alerting_in(tmp_path) as before:
        before.values = {"a": 2.0}
        before.receiver.away = True
        await before.look()
        await before.look()
        fired = await before.alerts()
    async with alerting_in(tmp_path) as after:
        after.clock = before.clock
        after.values = {"a": 2.0}
        assert await after.alerts() == fired
        assert await after.look(60.0) == []
        assert after.receiver.told == [[("a", State.FIRING)]]


async def test_what_the_receiver_did_not_take_is_sent_again_in_order_until_it_is_old(service: Service):
    service.values, service.receiver.away = {"a": 2.0}, True
    await service.look()
    await service.look()
    assert service.receiver.attempts == 1
    service.values = {"a": 0.0}
    for _ in range(10):
        await service.look()
    service.receiver.away = False
    await service.look(60.0)
    assert service.receiver.told == [[("a", State.FIRING)], [("a", State.RESOLVED)]]
    service.values, service.receiver.away = {"b": 2.0}, True
    for _ in range(60):
        await service.look()
    service.receiver.away = False
    await service.look(60.0)
    assert service.receiver.told[2:] == [], "it was given up"


async def test_the_outbox_is_looked_at_when_something_in_it_is_due(service: Service):
    assert await service.deliver() == DeliverySettings().interval_s
    service.values, service.receiver.away = {"a": 2.0}, True
    await service.look()
    await service.look()
    wait_s = await service.deliver()
    assert RETRY.first_s / 2 <= wait_s <= RETRY.first_s
    service.receiver.away = False
    service.clock.advance(RETRY.first_s)
    assert await service.deliver() == DeliverySettings().interval_s
    assert service.receiver.told == [[("a", State.FIRING)]]


async def test_the_outbox_is_left_alone_until_it_changes(service: Service):
    service.values, service.receiver.away = {"a": 2.0}, True
    await service.look()
    await service.look()
    looks: list[float] = []

    class Watched(Delivering):
        async def deliver_due(self) -> float:
            looks.append(await super().deliver_due())
            return looks[-1]

    async with background(service.delivering(Watched).run):
        await eventually(lambda: len(looks) == 1)
        service.receiver.away = False
        service.clock.advance(RETRY.first_s)
        service.changes.notify()
        await eventually(lambda: len(service.receiver.taken) == 1)
        await eventually(lambda: looks[-1] == DeliverySettings().interval_s)
    assert looks[1:] == [0.0, DeliverySettings().interval_s]


async def test_a_silenced_alert_is_told_of_when_its_silence_ends(service: Service):
    until_s = (service.clock.now() + timedelta(minutes=5)).timestamp()
    silence = await service.book.create_silence({"model": ("a",)}, until_s, "We know.", None)
    service.values = {"a": 2.0, "b": 2.0}
    for _ in range(3):
        await service.look()
    assert service.receiver.told == [[("b", State.FIRING)]]
    page = await service.book.list(page_request("test", 10, ""), with_resolved=False)
    assert {each.alert.labels["model"]: each.silenced for each in page.items} == {"a": True, "b": False}
    await service.book.end_silence(silence.silence_id)
    for _ in range(5):
        await service.look()
    assert ("a", State.FIRING) in service.receiver.told[-1]


async def test_every_change_of_an_alert_is_an_annotation_once_silenced_or_not(service: Service):
    until_s = (service.clock.now() + timedelta(minutes=5)).timestamp()
    await service.book.create_silence({"rule": ("hot",)}, until_s, "", None)
    service.values = {"a": 2.0}
    await service.look()
    service.values = {"a": 0.0}
    for _ in range(6):
        await service.look()
    noted = [(note.kind, note.resource, note.text) for note in await service.notes()]
    assert noted == [("alert.firing", "models/a", "a is at 2"), ("alert.resolved", "models/a", "a is at 2")]


async def test_a_rule_that_cannot_be_looked_at_changes_nothing(tmp_path: Path):
    async with alerting_in(tmp_path, answers_max=1) as service:
        service.values = {"a": 2.0}
        await service.look()
        service.values = {"a": 0.0, "b": 2.0}
        for _ in range(6):
            assert await service.look() == []
        assert [alert.state for alert in await service.alerts()] == [State.FIRING]


async def test_there_are_no_more_alerts_than_there_may_be(service: Service):
    service.values = dict.fromkeys("abcdef", 2.0)
    await service.look()
    assert [alert.labels["model"] for alert in await service.alerts()] == ["c", "b", "a"]


async def test_alerts_of_a_rule_that_is_gone_are_resolved(service: Service):
    service.values = {"a": 2.0}
    await service.look()
    service.rules = {}
    assert await service.look() == [("a", State.RESOLVED)]


async def test_a_shortage_that_is_expected_fires(service: Service):
    service.rules = {"lack": a_rule("lack", condition=CapacityForecast(within_s=3_600.0), for_s=0.0)}
    exceeded_s = service.clock.now().timestamp() + 1_800
    service.shortages.expected = [Shortage(model="a", exceeded_s=exceeded_s, peak_demand=9.0)]
    assert await service.look() == [("a", State.FIRING)]


async def test_whoever_watches_is_told_of_what_there_is_and_then_of_each_change(service: Service):
    service.rules = rules()
    service.rules["hot"] = replace(service.rules["hot"], for_s=20.0, keep_s=20.0)
    service.values = {"a": 2.0}
    await service.look()
    seen: list[State] = []
    async with asyncio.timeout(10), aclosing(service.book.watch()) as changes:
        seen.append((await anext(changes)).alert.state)
        await service.look()
        await service.look()
        seen.append((await anext(changes)).alert.state)
        service.values = {"a": 0.0}
        for _ in range(4):
            await service.look()
        async for each in changes:
            seen.append(each.alert.state)
            if each.alert.state is State.RESOLVED:
                break
    assert [state for place, state in enumerate(seen) if state not in seen[:place]] == [
        State.PENDING,
        State.FIRING,
        State.RESOLVED,
    ]


async def test_watchers_are_bounded(service: Service):
    service.values = {"a": 2.0}
    await service.look()
    book = service.book
    async with aclosing(book.watch()) as first, aclosing(book.watch()) as second:
        await anext(first)
        with pytest.raises(OverloadedError) as caught:
            await anext(second)
    assert caught.value.reason == "WATCHERS_MAX"


async def test_the_same_request_makes_one_silence(service: Service):
    until_s = (service.clock.now() + timedelta(hours=1)).timestamp()
    request = RequestKey(request_id="4b0c4f6e-3f0c-4f3e-9b9a-000000000001", sha256="a" * 64)
    first = await service.book.create_silence({"model": ("a",)}, until_s, "", request)
    assert await service.book.create_silence({"model": ("a",)}, until_s, "", request) == first
    with pytest.raises(ConflictError):
        await service.book.create_silence({"model": ("b",)}, until_s, "", replace(request, sha256="b" * 64))
    assert await service.book.silences() == [first]


async def test_silences_are_checked_and_bounded(service: Service):
    now_s = service.clock.now().timestamp()
    for filters, until_s in (({}, now_s + 60), ({"model": ()}, now_s + 60), ({"model": ("a",)}, now_s)):
        with pytest.raises(InvalidError):
            await service.book.create_silence(filters, until_s, "", None)
    for _ in range(2):
        await service.book.create_silence({"model": ("a",)}, now_s + 60, "", None)
    with pytest.raises(OverloadedError):
        await service.book.create_silence({"model": ("a",)}, now_s + 60, "", None)
    with pytest.raises(MissingError):
        await service.book.end_silence("s123")

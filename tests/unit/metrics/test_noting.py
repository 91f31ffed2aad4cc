"""Facts become annotations: each once, with a sentence, whatever is away meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from servemesh.api.events.v1 import events_pb2 as pb
from servemesh.errors import UnavailableError
from servemesh.lifecycle import background
from servemesh.metrics.adapters import event_notes
from servemesh.metrics.adapters.event_notes import EventFacts, annotation_of
from servemesh.metrics.domain.queries import Annotation
from servemesh.metrics.service.noting import Noting

FACTS = {field.name: field for field in pb.Event.DESCRIPTOR.oneofs_by_name["fact"].fields}


def an_event(kind: str, event_id: str = "e1") -> pb.Event:
    event = pb.Event(event_id=event_id, resource="models/iris")
    event.occur_time.FromMilliseconds(1_500)
    fact = getattr(event, kind)
    fact.SetInParent()
    for field in fact.DESCRIPTOR.fields:
        if field.cpp_type == field.CPPTYPE_STRING:
            setattr(fact, field.name, f"some/{field.name}")
    return event


def test_every_fact_of_the_contract_has_a_sentence():
    assert set(event_notes.TEXTS) == set(FACTS)


@pytest.mark.parametrize("kind", FACTS)
def test_a_fact_says_what_happened_to_what(kind: str):
    note = annotation_of(an_event(kind).SerializeToString())
    assert note is not None
    assert (note.annotation_id, note.time_s, note.resource) == ("e1", 1.5, "models/iris")
    noun, participle = note.kind.split(".")
    assert participle in kind
    assert noun in kind
    assert "some/" in note.text


def test_a_worker_that_fell_silent_is_lost_and_one_that_said_goodbye_left():
    event = an_event("worker_left")
    event.worker_left.lease_expired = True
    note = annotation_of(event.SerializeToString())
    assert note is not None
    assert note.kind == "worker.lost"


def test_what_this_service_told_itself_is_not_noted_again():
    event = an_event("alert_fired")
    event.source = "metrics"
    assert annotation_of(event.SerializeToString()) is None


def test_what_is_not_understood_leaves_no_note():
    assert annotation_of(b"\xff\xff") is None
    assert annotation_of(pb.Event(event_id="e1").SerializeToString()) is None


class StoppedDelivery:
    """A delivery that remembers how it was settled."""

    subject, message_id, sequence, delivered_count = "s", "m", 1, 1

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.outcome = ""
        self.done = asyncio.Event()

    async def ack(self) -> None:
        self.outcome = "ack"
        self.done.set()

    async def nak(self, *, delay_s: float = 0.0) -> None:
        self.outcome = "nak"
        self.done.set()

    async def in_progress(self) -> None:
        pass


class OneConsumer:
    """Gives what it has, to the name that it is asked under."""

    def __init__(self, *deliveries: StoppedDelivery) -> None:
        self.deliveries = deliveries
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    @asynccontextmanager
    async def consume(
        self, durable: str, *, subjects: tuple[str, ...], ack_wait_s: float = 30.0, pending_max: int = 256
    ) -> AsyncIterator[AsyncIterator[StoppedDelivery]]:
        self.asked.append((durable, tuple(subjects)))

        async def given() -> AsyncIterator[StoppedDelivery]:
            for delivery in self.deliveries:
                yield delivery
            await asyncio.Event().wait()

        yield given()


class MemoryNotes:
    def __init__(self, *, is_away: bool = False) -> None:
        self.is_away = is_away
        self.notes: dict[str, Annotation] = {}

    async def annotate(self, annotation: Annotation) -> None:
        if self.is_away:
            raise UnavailableError("the disk is full", reason="STORE_AWAY")
        self.notes.setdefault(annotation.annotation_id, annotation)


async def noted(notes: MemoryNotes, *deliveries: StoppedDelivery) -> None:
    async with background(Noting(EventFacts(OneConsumer(*deliveries)), notes).run), asyncio.timeout(2):
        for delivery in deliveries:
            await delivery.done.wait()


async def test_facts_are_kept_and_then_settled_and_one_that_cannot_be_read_too():
    notes = MemoryNotes()
    again = an_event("worker_left").SerializeToString()
    deliveries = [StoppedDelivery(data) for data in (again, again, b"\xff\xff")]
    await noted(notes, *deliveries)
    assert [delivery.outcome for delivery in deliveries] == ["ack", "ack", "ack"]
    assert [note.kind for note in notes.notes.values()] == ["worker.left"]


async def test_a_fact_that_cannot_be_kept_now_comes_again():
    delivery = StoppedDelivery(an_event("worker_left").SerializeToString())
    await noted(MemoryNotes(is_away=True), delivery)
    assert delivery.outcome == "nak"

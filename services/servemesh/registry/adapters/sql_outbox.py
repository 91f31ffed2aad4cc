"""Rows of the outbox, the counters that number them, answers given and duties taken."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from servemesh.registry.adapters import event_messages
from servemesh.registry.adapters import sql_schema as schema
from servemesh.registry.domain.aliases import Alias
from servemesh.registry.domain.deployments import Deployment
from servemesh.registry.domain.duties import Duty
from servemesh.registry.domain.events import Event
from servemesh.registry.domain.models import Model, ModelVersion
from servemesh.registry.domain.outbox import OutboxRow, SentMark
from servemesh.registry.domain.uploads import Upload
from servemesh.requests import RequestKey
from servemesh.sql import rows as sql_rows
from servemesh.sql.codec import Codec, to_us

Answer = TypeVar("Answer")

_ANSWERS: dict[type, Codec[Any]] = {
    kind: Codec(kind) for kind in (Model, ModelVersion, Alias, Deployment, Upload)
}


class SqlOutbox:
    """Satisfies ports.Outbox."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def next_value(self, counter: str, *, at_least: int = 1) -> int:
        """Count up and return the new value."""
        return await sql_rows.next_value(self._connection, schema.counters, counter, at_least)

    async def add(self, event: Event) -> None:
        """Insert, to be sent."""
        values = {
            "event_id": event.event_id,
            "subject": event.subject,
            "data": event_messages.encoded(event),
        }
        await self._connection.execute(insert(schema.outbox).values(**values))

    async def list_unsent(self, *, limit: int) -> Sequence[OutboxRow]:
        """What the broker has not confirmed, oldest first."""
        table = schema.outbox
        query = select(table).where(table.c.stream_sequence.is_(None))
        rows = await self._connection.execute(query.order_by(table.c.row_id).limit(limit))
        return [
            OutboxRow(row_id=row.row_id, event_id=row.event_id, subject=row.subject, data=row.data)
            for row in rows
        ]

    async def count_unsent(self) -> int:
        """How many facts the broker has not confirmed."""
        return await sql_rows.count(
            self._connection, schema.outbox, schema.outbox.c.stream_sequence.is_(None)
        )

    async def mark_sent(self, row_id: int, *, stream_sequence: int, sent_time: datetime) -> None:
        """Note what the broker confirmed."""
        values = {"stream_sequence": stream_sequence, "sent_time": to_us(sent_time)}
        await self._connection.execute(
            update(schema.outbox).where(schema.outbox.c.row_id == row_id).values(**values)
        )

    async def find_newest_sent(self) -> SentMark | None:
        """The confirmed fact that is highest in the stream."""
        table = schema.outbox
        query = select(table).where(table.c.stream_sequence.is_not(None))
        found = await self._connection.execute(query.order_by(table.c.stream_sequence.desc()).limit(1))
        row = found.one_or_none()
        if row is None:
            return None
        return SentMark(event_id=row.event_id, stream_sequence=row.stream_sequence)

    async def mark_all_unsent(self) -> int:
        """Every kept fact is to be sent again; how many those are."""
        table = schema.outbox
        result = await self._connection.execute(
            update(table)
            .where(table.c.stream_sequence.is_not(None))
            .values(stream_sequence=None, sent_time=None)
        )
        return result.rowcount

    async def delete_sent(self, *, sent_before: datetime) -> None:
        """Forget what was confirmed before that."""
        table = schema.outbox
        await self._connection.execute(delete(table).where(table.c.sent_time < to_us(sent_before)))


class SqlRequests:
    """Satisfies ports.Requests."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def find(self, request_id: str, kind: type[Answer]) -> tuple[str, Answer | None] | None:
        """Digest and answer of a request seen before; the answer is None if it is of another kind."""
        table = schema.requests
        query = select(table).where(table.c.request_id == request_id)
        row = (await self._connection.execute(query)).one_or_none()
        if row is None:
            return None
        return row.sha256, _ANSWERS[kind].loads(row.answer) if row.kind == kind.__name__ else None

    async def put(self, request: RequestKey, answer: object, *, create_time: datetime) -> None:
        """Insert or replace."""
        values = {
            "request_id": request.request_id,
            "sha256": request.sha256,
            "kind": type(answer).__name__,
            "answer": _ANSWERS[type(answer)].dumps(answer),
            "create_time": to_us(create_time),
        }
        await sql_rows.put(self._connection, schema.requests, values)

    async def delete(self, *, created_before: datetime) -> None:
        """Forget answers given before that."""
        table = schema.requests
        await self._connection.execute(delete(table).where(table.c.create_time < to_us(created_before)))


class SqlDuties:
    """Satisfies ports.Duties."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def find(self, name: str) -> Duty | None:
        """Who does it, if anybody ever did."""
        row = (
            await self._connection.execute(select(schema.duties).where(schema.duties.c.name == name))
        ).one_or_none()
        if row is None:
            return None
        return Duty(name=row.name, holder=row.holder, epoch=row.epoch, beat=row.beat)

    async def put(self, duty: Duty) -> None:
        """Insert or replace."""
        values = {"name": duty.name, "holder": duty.holder, "epoch": duty.epoch, "beat": duty.beat}
        await sql_rows.put(self._connection, schema.duties, values)

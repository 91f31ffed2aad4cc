"""Rows of facts on their way to the broker, and of answers given."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from servemesh.events import subjects
from servemesh.optimizer.adapters import event_messages
from servemesh.optimizer.adapters import sql_schema as schema
from servemesh.optimizer.domain.records import Fact, FactRow
from servemesh.requests import RequestKey
from servemesh.sql import rows as sql_rows
from servemesh.sql.codec import to_us


class SqlFacts:
    """Satisfies storage.Facts."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def next_revision(self, job: str) -> int:
        """Count up and return the job's new revision."""
        return await sql_rows.next_value(self._connection, schema.counters, job)

    async def add(self, fact: Fact) -> None:
        """Insert, to be sent."""
        values = {
            "event_id": fact.event_id,
            "subject": subjects.job_fact(fact.kind.value, fact.noun),
            "data": event_messages.encoded(fact),
        }
        await self._connection.execute(insert(schema.facts).values(**values))

    async def list_unsent(self, *, limit: int) -> Sequence[FactRow]:
        """Oldest first."""
        rows = await self._connection.execute(
            select(schema.facts).order_by(schema.facts.c.row_id).limit(limit)
        )
        return [
            FactRow(row_id=row.row_id, event_id=row.event_id, subject=row.subject, data=row.data)
            for row in rows
        ]

    async def delete(self, row_ids: Sequence[int]) -> None:
        """Forget what the broker has."""
        await self._connection.execute(delete(schema.facts).where(schema.facts.c.row_id.in_(row_ids)))


class SqlRequests:
    """Satisfies storage.Requests."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def find(self, request_id: str) -> tuple[str, str] | None:
        """Digest of a request seen before, and the name that it was answered with."""
        table = schema.requests
        row = (
            await self._connection.execute(select(table).where(table.c.request_id == request_id))
        ).one_or_none()
        return (row.sha256, row.answer) if row is not None else None

    async def put(self, request: RequestKey, answer: str, *, create_time: datetime) -> None:
        """Insert or replace."""
        values = {
            "request_id": request.request_id,
            "sha256": request.sha256,
            "answer": answer,
            "create_time": to_us(create_time),
        }
        await sql_rows.put(self._connection, schema.requests, values)

    async def delete(self, *, created_before: datetime) -> None:
        """Forget answers given before that."""
        table = schema.requests
        await self._connection.execute(delete(table).where(table.c.create_time < to_us(created_before)))

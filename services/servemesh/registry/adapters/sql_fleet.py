"""Rows of Leases, Assignments and Demands."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from servemesh.registry.adapters import sql_schema as schema
from servemesh.registry.domain.fleet import Assignment, Demand, Lease, VersionKey
from servemesh.sql import rows as sql_rows
from servemesh.sql.codec import Codec, from_us, to_us

_LEASE = Codec(Lease)
_ASSIGNMENT = Codec(Assignment)


class SqlFleet:
    """Satisfies ports.Fleet."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def find_lease(self, worker_id: str) -> Lease | None:
        """The last Lease of that Worker, live or not."""
        query = select(schema.workers.c.document).where(schema.workers.c.worker_id == worker_id)
        text = await self._connection.scalar(query)
        return _LEASE.loads(text) if text is not None else None

    async def list_leases(self, *, after: str, limit: int) -> Sequence[Lease]:
        """Live Leases in order of worker id."""
        table = schema.workers
        query = select(table.c.document).where(table.c.live, table.c.worker_id > after)
        rows = await self._connection.scalars(query.order_by(table.c.worker_id).limit(limit))
        return [_LEASE.loads(text) for text in rows]

    async def count_leases(self) -> int:
        """How many Leases are live."""
        return await sql_rows.count(self._connection, schema.workers, schema.workers.c.live.is_(True))

    async def put_lease(self, lease: Lease) -> None:
        """Insert or replace."""
        values = {
            "worker_id": lease.worker.worker_id,
            "live": lease.live,
            "expire_time": to_us(lease.expire_time),
            "document": _LEASE.dumps(lease),
        }
        await sql_rows.put(self._connection, schema.workers, values)

    async def delete_leases(self, *, expired_before: datetime) -> None:
        """Forget Workers that left long ago."""
        table = schema.workers
        await self._connection.execute(
            delete(table).where(table.c.live.is_(False), table.c.expire_time < to_us(expired_before))
        )

    async def find_assignment(self, worker_id: str) -> Assignment | None:
        """What that Worker should hold, if it was ever decided."""
        query = select(schema.assignments.c.document).where(schema.assignments.c.worker_id == worker_id)
        text = await self._connection.scalar(query)
        return _ASSIGNMENT.loads(text) if text is not None else None

    async def list_assignments(self) -> Sequence[Assignment]:
        """All of them, in order of worker id."""
        table = schema.assignments
        rows = await self._connection.scalars(select(table.c.document).order_by(table.c.worker_id))
        return [_ASSIGNMENT.loads(text) for text in rows]

    async def put_assignment(self, assignment: Assignment) -> None:
        """Insert or replace."""
        values = {"worker_id": assignment.worker_id, "document": _ASSIGNMENT.dumps(assignment)}
        await sql_rows.put(self._connection, schema.assignments, values)

    async def delete_assignment(self, worker_id: str) -> None:
        """Remove."""
        table = schema.assignments
        await self._connection.execute(delete(table).where(table.c.worker_id == worker_id))

    async def list_demands(self) -> Sequence[Demand]:
        """All of them."""
        rows = await self._connection.execute(select(schema.demands))
        return [
            Demand(model_id=row.model_id, version_id=row.version_id, demand_time=from_us(row.demand_time))
            for row in rows
        ]

    async def put_demand(self, demand: Demand) -> None:
        """Insert or replace."""
        values = {
            "model_id": demand.model_id,
            "version_id": demand.version_id,
            "demand_time": to_us(demand.demand_time),
        }
        await sql_rows.put(self._connection, schema.demands, values)

    async def delete_demands(self, keys: Sequence[VersionKey]) -> None:
        """Remove these."""
        table = schema.demands
        await self._connection.execute(
            delete(table).where(tuple_(table.c.model_id, table.c.version_id).in_(list(keys)))
        )

"""Rows of Deployments, and why some Versions could not be placed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from servemesh.registry.adapters import sql_schema as schema
from servemesh.registry.domain.deployments import Deployment
from servemesh.registry.domain.fleet import VersionKey
from servemesh.registry.domain.placement import Shortfall
from servemesh.sql import rows as sql_rows
from servemesh.sql.codec import Codec

_DEPLOYMENT = Codec(Deployment)


class SqlDeployments:
    """Satisfies ports.Deployments."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def find(self, model_id: str) -> Deployment | None:
        """The Deployment, if there is one."""
        query = select(schema.deployments.c.document).where(schema.deployments.c.model_id == model_id)
        text = await self._connection.scalar(query)
        return _DEPLOYMENT.loads(text) if text is not None else None

    async def list(self, *, after: str, limit: int) -> Sequence[Deployment]:
        """Deployments in order of model id."""
        table = schema.deployments
        query = select(table.c.document).where(table.c.model_id > after)
        rows = await self._connection.scalars(query.order_by(table.c.model_id).limit(limit))
        return [_DEPLOYMENT.loads(text) for text in rows]

    async def put(self, deployment: Deployment) -> None:
        """Insert or replace."""
        values = {
            "model_id": deployment.model_id,
            "revision": deployment.revision,
            "document": _DEPLOYMENT.dumps(deployment),
        }
        await sql_rows.put(self._connection, schema.deployments, values)

    async def delete(self, model_id: str) -> None:
        """Remove."""
        table = schema.deployments
        await self._connection.execute(delete(table).where(table.c.model_id == model_id))

    async def shortfalls(self) -> Mapping[VersionKey, Shortfall]:
        """Every Version that lacks a place, and why."""
        rows = await self._connection.execute(select(schema.shortfalls))
        return {
            (row.model_id, row.version_id): Shortfall(reason=row.reason, message=row.message) for row in rows
        }

    async def put_shortfalls(self, shortfalls: Mapping[VersionKey, Shortfall]) -> None:
        """Replace all of them."""
        await self._connection.execute(delete(schema.shortfalls))
        rows = [
            {"model_id": key[0], "version_id": key[1], "reason": short.reason, "message": short.message}
            for key, short in shortfalls.items()
        ]
        if rows:
            await self._connection.execute(insert(schema.shortfalls), rows)

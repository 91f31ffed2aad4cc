"""Rows that say which blobs are in use, and which were found to be in none."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import delete, select, union
from sqlalchemy.ext.asyncio import AsyncConnection

from servemesh.registry.adapters import sql_schema as schema
from servemesh.registry.domain.collecting import Orphan
from servemesh.sql import rows as sql_rows
from servemesh.sql.codec import from_us, to_us


class SqlBlobs:
    """Satisfies ports.Blobs. What is in use is written with the Versions and Uploads themselves."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def used(self, sha256s: Collection[str]) -> frozenset[str]:
        """Those of the blobs that a Version or an open Upload names."""
        # One statement, so that a blob is not missed while it goes over from an Upload to its Version.
        tables = (schema.version_blobs, schema.upload_blobs)
        query = union(*[select(table.c.sha256).where(table.c.sha256.in_(sha256s)) for table in tables])
        return frozenset((await self._connection.scalars(query)).all())

    async def find_orphans(self, sha256s: Collection[str]) -> Sequence[Orphan]:
        """What is known of those blobs that were found in no use."""
        table = schema.orphan_blobs
        rows = await self._connection.execute(select(table).where(table.c.sha256.in_(sha256s)))
        return [
            Orphan(sha256=row.sha256, since=from_us(row.since_time), is_condemned=row.is_condemned)
            for row in rows
        ]

    async def list_condemned(self, *, limit: int) -> Sequence[str]:
        """Blobs whose deletion is decided and not confirmed."""
        table = schema.orphan_blobs
        query = select(table.c.sha256).where(table.c.is_condemned.is_(True)).order_by(table.c.sha256)
        return (await self._connection.scalars(query.limit(limit))).all()

    async def put_orphans(self, orphans: Sequence[Orphan]) -> None:
        """Insert or replace."""
        for orphan in orphans:
            values = {
                "sha256": orphan.sha256,
                "since_time": to_us(orphan.since),
                "is_condemned": orphan.is_condemned,
            }
            await sql_rows.put(self._connection, schema.orphan_blobs, values)

    async def forget_orphans(self, sha256s: Collection[str]) -> None:
        """Remove."""
        table = schema.orphan_blobs
        await self._connection.execute(delete(table).where(table.c.sha256.in_(sha256s)))

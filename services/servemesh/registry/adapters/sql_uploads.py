"""Rows of Uploads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from servemesh.registry.adapters import sql_schema as schema
from servemesh.registry.domain.uploads import Upload
from servemesh.sql import rows as sql_rows
from servemesh.sql.codec import Codec, to_us

_UPLOAD = Codec(Upload)


class SqlUploads:
    """Satisfies ports.Uploads."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def find(self, model_id: str, upload_id: str) -> Upload | None:
        """The Upload, if there is one."""
        table = schema.uploads
        query = select(table.c.document).where(table.c.model_id == model_id, table.c.upload_id == upload_id)
        text = await self._connection.scalar(query)
        return _UPLOAD.loads(text) if text is not None else None

    async def count_open(self) -> int:
        """How many Uploads have no Version yet."""
        return await sql_rows.count(self._connection, schema.uploads, schema.uploads.c.is_open.is_(True))

    async def list_expired(self, *, now: datetime, limit: int) -> Sequence[Upload]:
        """Uploads whose expire_time is not after `now`, oldest first."""
        table = schema.uploads
        query = select(table.c.document).where(table.c.expire_time <= to_us(now))
        rows = await self._connection.scalars(query.order_by(table.c.expire_time).limit(limit))
        return [_UPLOAD.loads(text) for text in rows]

    async def put(self, upload: Upload) -> None:
        """Insert or replace."""
        values = {
            "model_id": upload.model_id,
            "upload_id": upload.upload_id,
            "is_open": upload.version_id is None,
            "expire_time": to_us(upload.expire_time),
            "document": _UPLOAD.dumps(upload),
        }
        await sql_rows.put(self._connection, schema.uploads, values)
        await self._put_uses(upload)

    async def _put_uses(self, upload: Upload) -> None:
        """Write down which blobs it needs: those of its digests that are known, until its Version needs them."""
        table, key = schema.upload_blobs, {"model_id": upload.model_id, "upload_id": upload.upload_id}
        needed = {file.sha256 for file in upload.files if file.sha256 and upload.version_id is None}
        owned = (table.c.model_id == upload.model_id, table.c.upload_id == upload.upload_id)
        kept = set(await self._connection.scalars(select(table.c.sha256).where(*owned)))
        if kept - needed:
            await self._connection.execute(delete(table).where(*owned, table.c.sha256.in_(kept - needed)))
        if needed - kept:
            uses = [{"sha256": sha256, **key} for sha256 in sorted(needed - kept)]
            await self._connection.execute(insert(table), uses)

    async def delete(self, model_id: str, upload_id: str) -> bool:
        """Remove; whether it was there."""
        table = schema.uploads
        result = await self._connection.execute(
            delete(table).where(table.c.model_id == model_id, table.c.upload_id == upload_id)
        )
        return result.rowcount > 0

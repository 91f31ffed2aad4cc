"""Rows of Sources, Datasets, kept passes and the owners of blobs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from servemesh.optimizer.adapters import sql_schema as schema
from servemesh.optimizer.domain.records import Dataset, KeptPass, Source
from servemesh.sql import rows as sql_rows
from servemesh.sql.codec import Codec, to_us

_SOURCE = Codec(Source)
_DATASET = Codec(Dataset)
_KEPT_PASS = Codec(KeptPass)


class SqlSources:
    """Satisfies storage.SourceRows."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def find(self, digest: str) -> Source | None:
        """The Source, if there is one."""
        table = schema.sources
        text = await self._connection.scalar(select(table.c.document).where(table.c.digest == digest))
        return _SOURCE.loads(text) if text is not None else None

    async def put(self, source: Source) -> None:
        """Insert or replace."""
        values = {
            "digest": source.digest,
            "use_time": to_us(source.use_time),
            "document": _SOURCE.dumps(source),
        }
        await sql_rows.put(self._connection, schema.sources, values)

    async def list_unused(self, *, used_before: datetime, limit: int) -> Sequence[Source]:
        """Those last used before that, longest unused first."""
        table = schema.sources
        query = select(table.c.document).where(table.c.use_time < to_us(used_before))
        rows = await self._connection.scalars(query.order_by(table.c.use_time).limit(limit))
        return [_SOURCE.loads(text) for text in rows]

    async def delete(self, digest: str) -> None:
        """Remove."""
        await self._connection.execute(delete(schema.sources).where(schema.sources.c.digest == digest))


class SqlDatasets:
    """Satisfies storage.DatasetRows."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def find(self, dataset_id: str) -> Dataset | None:
        """The Dataset, if there is one."""
        table = schema.datasets
        text = await self._connection.scalar(select(table.c.document).where(table.c.dataset_id == dataset_id))
        return _DATASET.loads(text) if text is not None else None

    async def put(self, dataset: Dataset) -> None:
        """Insert or replace."""
        values = {
            "dataset_id": dataset.dataset_id,
            "source": dataset.source,
            "document": _DATASET.dumps(dataset),
        }
        await sql_rows.put(self._connection, schema.datasets, values)

    async def list(self, *, after: str, limit: int) -> Sequence[Dataset]:
        """In order of id, those after that one."""
        table = schema.datasets
        query = select(table.c.document).where(table.c.dataset_id > after)
        rows = await self._connection.scalars(query.order_by(table.c.dataset_id).limit(limit))
        return [_DATASET.loads(text) for text in rows]

    async def count(self) -> int:
        """How many there are."""
        return await sql_rows.count(self._connection, schema.datasets)

    async def is_made_of(self, source: str) -> bool:
        """Whether any was made of that Source."""
        return bool(
            await sql_rows.count(self._connection, schema.datasets, schema.datasets.c.source == source)
        )

    async def delete(self, dataset_id: str) -> None:
        """Remove."""
        await self._connection.execute(
            delete(schema.datasets).where(schema.datasets.c.dataset_id == dataset_id)
        )


class SqlKeptPasses:
    """Satisfies storage.KeptPasses."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def find(self, cache_key: str) -> KeptPass | None:
        """What is kept under that key."""
        table = schema.kept_passes
        text = await self._connection.scalar(select(table.c.document).where(table.c.cache_key == cache_key))
        return _KEPT_PASS.loads(text) if text is not None else None

    async def find_model(self, sha256: str) -> KeptPass | None:
        """Any that has this model."""
        table = schema.kept_passes
        query = select(table.c.document).where(table.c.sha256 == sha256)
        text = await self._connection.scalar(query.order_by(table.c.use_time.desc()).limit(1))
        return _KEPT_PASS.loads(text) if text is not None else None

    async def put(self, kept: KeptPass) -> None:
        """Insert or replace."""
        values = {
            "cache_key": kept.cache_key,
            "sha256": kept.sha256,
            "size_bytes": kept.size_bytes,
            "use_time": to_us(kept.use_time),
            "document": _KEPT_PASS.dumps(kept),
        }
        await sql_rows.put(self._connection, schema.kept_passes, values)

    async def list_oldest(self, *, limit: int) -> Sequence[KeptPass]:
        """Longest unused first."""
        table = schema.kept_passes
        query = select(table.c.document).order_by(table.c.use_time, table.c.cache_key)
        return [_KEPT_PASS.loads(text) for text in await self._connection.scalars(query.limit(limit))]

    async def size_bytes(self) -> int:
        """Sum over all."""
        return int(await self._connection.scalar(select(func.sum(schema.kept_passes.c.size_bytes))) or 0)

    async def delete(self, cache_keys: Sequence[str]) -> None:
        """Remove."""
        table = schema.kept_passes
        await self._connection.execute(delete(table).where(table.c.cache_key.in_(cache_keys)))


class SqlBlobOwners:
    """Satisfies storage.BlobOwners."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, owner: str) -> None:
        """Insert."""
        await self._connection.execute(schema.blob_owners.insert().values(owner=owner))

    async def known(self, owners: Sequence[str]) -> frozenset[str]:
        """Which of them there are."""
        table = schema.blob_owners
        return frozenset(
            await self._connection.scalars(select(table.c.owner).where(table.c.owner.in_(owners)))
        )

    async def delete(self, owner: str) -> None:
        """Remove: its blobs are nobody's."""
        await self._connection.execute(delete(schema.blob_owners).where(schema.blob_owners.c.owner == owner))

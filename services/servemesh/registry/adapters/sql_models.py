"""Rows of Models and their Versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import delete, insert, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from servemesh.registry.adapters import sql_schema as schema
from servemesh.registry.domain.fleet import VersionKey
from servemesh.registry.domain.models import Model, ModelVersion
from servemesh.sql import rows as sql_rows
from servemesh.sql.codec import Codec

_MODEL = Codec(Model)
_VERSION = Codec(ModelVersion)
_KEYS_PER_QUERY = 200


class SqlModels:
    """Satisfies ports.Models."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def find(self, model_id: str) -> Model | None:
        """The Model, if there is one."""
        query = select(schema.models.c.document).where(schema.models.c.model_id == model_id)
        text = await self._connection.scalar(query)
        return _MODEL.loads(text) if text is not None else None

    async def list(self, *, after: str, limit: int) -> Sequence[Model]:
        """Models in order of id."""
        table = schema.models
        query = select(table.c.document).where(table.c.model_id > after)
        rows = await self._connection.scalars(query.order_by(table.c.model_id).limit(limit))
        return [_MODEL.loads(text) for text in rows]

    async def count(self) -> int:
        """How many Models there are."""
        return await sql_rows.count(self._connection, schema.models)

    async def put(self, model: Model) -> None:
        """Insert or replace."""
        values = {
            "model_id": model.model_id,
            "revision": model.revision,
            "document": _MODEL.dumps(model),
        }
        await sql_rows.put(self._connection, schema.models, values)

    async def delete(self, model_id: str) -> None:
        """Remove the Model with its Versions; its Aliases must be gone."""
        await self._connection.execute(delete(schema.versions).where(schema.versions.c.model_id == model_id))
        await self._connection.execute(delete(schema.models).where(schema.models.c.model_id == model_id))

    async def find_version(self, model_id: str, version_id: int) -> ModelVersion | None:
        """The Version, if there is one."""
        return (await self.find_versions([(model_id, version_id)])).get((model_id, version_id))

    async def find_versions(self, keys: Sequence[VersionKey]) -> Mapping[VersionKey, ModelVersion]:
        """Those of the Versions that there are."""
        table = schema.versions
        found: dict[VersionKey, ModelVersion] = {}
        for start in range(0, len(keys), _KEYS_PER_QUERY):
            some = list(keys[start : start + _KEYS_PER_QUERY])
            query = select(table.c.document).where(tuple_(table.c.model_id, table.c.version_id).in_(some))
            for text in await self._connection.scalars(query):
                version = _VERSION.loads(text)
                found[version.model_id, version.version_id] = version
        return found

    async def find_version_of_request(self, request_id: str) -> ModelVersion | None:
        """The Version that a commit with this request_id made, if there is one."""
        table = schema.versions
        text = await self._connection.scalar(select(table.c.document).where(table.c.request_id == request_id))
        return _VERSION.loads(text) if text is not None else None

    async def list_versions(self, model_id: str, *, before: int, limit: int) -> Sequence[ModelVersion]:
        """Versions with smaller ids than `before`, newest first; 0 means all."""
        table = schema.versions
        query = select(table.c.document).where(table.c.model_id == model_id)
        if before:
            query = query.where(table.c.version_id < before)
        rows = await self._connection.scalars(query.order_by(table.c.version_id.desc()).limit(limit))
        return [_VERSION.loads(text) for text in rows]

    async def count_versions(self, model_id: str) -> int:
        """How many Versions the Model has."""
        return await sql_rows.count(self._connection, schema.versions, schema.versions.c.model_id == model_id)

    async def add_version(self, version: ModelVersion) -> None:
        """Insert."""
        values = {
            "model_id": version.model_id,
            "version_id": version.version_id,
            "document": _VERSION.dumps(version),
            "request_id": version.request_id or None,
        }
        await self._connection.execute(insert(schema.versions).values(**values))
        key = {"model_id": version.model_id, "version_id": version.version_id}
        uses = [{"sha256": sha256, **key} for sha256 in sorted({file.sha256 for file in version.files})]
        await self._connection.execute(insert(schema.version_blobs), uses)

    async def delete_version(self, model_id: str, version_id: int) -> None:
        """Remove."""
        table = schema.versions
        await self._connection.execute(
            delete(table).where(table.c.model_id == model_id, table.c.version_id == version_id)
        )

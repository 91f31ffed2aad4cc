"""Rows of Aliases and of their moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from servemesh.registry.adapters import sql_schema as schema
from servemesh.registry.domain.aliases import Alias, AliasMove
from servemesh.sql import rows as sql_rows
from servemesh.sql.codec import from_us, to_us

_KEYS_PER_QUERY = 500


class SqlAliases:
    """Satisfies ports.Aliases."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def find(self, model_id: str, alias_id: str) -> Alias | None:
        """The Alias, if there is one."""
        table = schema.aliases
        query = select(table).where(table.c.model_id == model_id, table.c.alias_id == alias_id)
        row = (await self._connection.execute(query)).one_or_none()
        return _alias(row) if row is not None else None

    async def list(self, model_id: str, *, after: str, limit: int) -> Sequence[Alias]:
        """Aliases of the Model in order of id."""
        table = schema.aliases
        query = select(table).where(table.c.model_id == model_id, table.c.alias_id > after)
        rows = await self._connection.execute(query.order_by(table.c.alias_id).limit(limit))
        return [_alias(row) for row in rows]

    async def targets(self, model_ids: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
        """Model id → alias id → version id, for these Models."""
        table = schema.aliases
        found: dict[str, dict[str, int]] = {model_id: {} for model_id in model_ids}
        for start in range(0, len(model_ids), _KEYS_PER_QUERY):
            query = select(table).where(table.c.model_id.in_(model_ids[start : start + _KEYS_PER_QUERY]))
            for row in await self._connection.execute(query):
                found[row.model_id][row.alias_id] = row.version_id
        return found

    async def count(self, model_id: str) -> int:
        """How many Aliases the Model has."""
        return await sql_rows.count(self._connection, schema.aliases, schema.aliases.c.model_id == model_id)

    async def put(self, alias: Alias) -> None:
        """Insert or replace."""
        values = {
            "model_id": alias.model_id,
            "alias_id": alias.alias_id,
            "version_id": alias.version_id,
            "update_time": to_us(alias.update_time),
            "revision": alias.revision,
        }
        await sql_rows.put(self._connection, schema.aliases, values)

    async def delete(self, model_id: str, alias_id: str) -> None:
        """Remove."""
        table = schema.aliases
        await self._connection.execute(
            delete(table).where(table.c.model_id == model_id, table.c.alias_id == alias_id)
        )

    async def add_move(self, move: AliasMove) -> None:
        """Insert."""
        values = {
            "model_id": move.model_id,
            "alias_id": move.alias_id,
            "revision": move.revision,
            "version_id": move.version_id,
            "move_time": to_us(move.move_time),
        }
        await self._connection.execute(insert(schema.alias_moves).values(**values))

    async def find_last_move(
        self, model_id: str, alias_id: str, *, as_of_time: datetime | None = None
    ) -> AliasMove | None:
        """The last move, or the last one not after `as_of_time`."""
        table = schema.alias_moves
        query = select(table).where(table.c.model_id == model_id, table.c.alias_id == alias_id)
        if as_of_time is not None:
            query = query.where(table.c.move_time <= to_us(as_of_time))
        row = (await self._connection.execute(query.order_by(table.c.revision.desc()).limit(1))).one_or_none()
        return _move(row) if row is not None else None

    async def list_moves(
        self, model_id: str, alias_id: str, *, before: int, limit: int
    ) -> Sequence[AliasMove]:
        """Moves with smaller revisions than `before`, newest first; 0 means all."""
        table = schema.alias_moves
        query = select(table).where(table.c.model_id == model_id, table.c.alias_id == alias_id)
        if before:
            query = query.where(table.c.revision < before)
        rows = await self._connection.execute(query.order_by(table.c.revision.desc()).limit(limit))
        return [_move(row) for row in rows]


def _alias(row: Row[Any]) -> Alias:
    return Alias(
        model_id=row.model_id,
        alias_id=row.alias_id,
        version_id=row.version_id,
        update_time=from_us(row.update_time),
        revision=row.revision,
    )


def _move(row: Row[Any]) -> AliasMove:
    return AliasMove(
        model_id=row.model_id,
        alias_id=row.alias_id,
        revision=row.revision,
        version_id=row.version_id,
        move_time=from_us(row.move_time),
    )

"""Statements that both databases understand although they differ: insert-or-update, and counting up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Table, case, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import ColumnElement


async def put(connection: AsyncConnection, table: Table, values: Mapping[str, Any]) -> None:
    """Insert a row, or replace the one with the same primary key."""
    statement = _insert(connection, table).values(**values)
    keys = [column.name for column in table.primary_key.columns]
    rest = {name: statement.excluded[name] for name in values if name not in keys}
    await connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=rest))


async def count(connection: AsyncConnection, table: Table, *conditions: ColumnElement[bool]) -> int:
    """Rows that meet the conditions."""
    found = await connection.scalar(select(func.count()).select_from(table).where(*conditions))
    return int(found or 0)


async def next_value(connection: AsyncConnection, counters: Table, counter: str, at_least: int = 1) -> int:
    """Count up and return the new value; a counter starts at 1 and jumps to `at_least` if it is behind.

    `counters` has a column `name`, its key, and a column `value`.
    """
    statement = _insert(connection, counters).values(name=counter, value=max(1, at_least))
    above = counters.c.value + 1
    value = case((above > statement.excluded.value, above), else_=statement.excluded.value)
    upsert = statement.on_conflict_do_update(index_elements=["name"], set_={"value": value})
    result = await connection.execute(upsert.returning(counters.c.value))
    return int(result.scalar_one())


def _insert(connection: AsyncConnection, table: Table) -> postgresql.Insert | sqlite.Insert:
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)

"""Connections to the database, set up so that an acknowledged change is on disk."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Any

from sqlalchemy import AsyncAdaptedQueuePool, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from servemesh.errors import InvalidError
from servemesh.observe import names as telemetry

log = logging.getLogger(__name__)

# What must hold on each SQLite connection, as PRAGMA shows it.
_SQLITE_WANTED = {"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "trusted_schema": "0"}
_WAL_TRY_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Where the database is, and how long to wait for it."""

    url: str
    readers_max: int = 8
    writers_max: int = 8
    connect_timeout_s: float = 5.0
    busy_timeout_s: float = 10.0


@asynccontextmanager
async def opened(settings: StoreSettings) -> AsyncIterator[tuple[AsyncEngine, AsyncEngine]]:
    """Pools for readers and writers, for the length of the block."""
    url = _checked(settings.url)
    make = _sqlite_engines if url.get_backend_name() == "sqlite" else _postgresql_engines
    readers, writers = make(url, settings)
    try:
        yield readers, writers
    finally:
        await readers.dispose()
        await writers.dispose()


async def check(engine: AsyncEngine) -> None:
    """InvalidError unless SQLite keeps what it acknowledges; how PostgreSQL is run is its operator's choice."""
    async with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            for name, wanted in _SQLITE_WANTED.items():
                await _check(connection, f"PRAGMA {name}", wanted)
        else:
            for name in ("fsync", "synchronous_commit", "full_page_writes"):
                if await connection.scalar(text(f"SHOW {name}")) == "off":
                    log.warning(telemetry.STORE_NOT_DURABLE, extra={"setting": name})


def is_sqlite(url: str) -> bool:
    """Whether that URL means the embedded database."""
    return _checked(url).get_backend_name() == "sqlite"


def _checked(url: str) -> URL:
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
    try:
        parsed = make_url(url)
        return parsed.set(drivername=drivers[parsed.get_backend_name()])
    except (ArgumentError, KeyError):
        raise InvalidError(
            "the database URL is not one of sqlite:///FILE and postgresql://USER@HOST:PORT/NAME",
            reason="DATABASE_URL_MALFORMED",
            field="database_url",
        ) from None


def _sqlite_engines(url: URL, settings: StoreSettings) -> tuple[AsyncEngine, AsyncEngine]:
    def engine(begin: str, pool_size: int) -> AsyncEngine:
        made = create_async_engine(
            url,
            poolclass=AsyncAdaptedQueuePool,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=settings.busy_timeout_s,
            connect_args={"timeout": settings.busy_timeout_s},
        )
        event.listen(
            made.sync_engine, "connect", partial(_set_up_sqlite, busy_timeout_s=settings.busy_timeout_s)
        )
        event.listen(made.sync_engine, "invalidate", _roll_back)
        # The driver would begin a transaction when it sees fit; we say when, and of which kind.
        event.listen(made.sync_engine, "begin", lambda connection: connection.exec_driver_sql(begin))
        return made

    return engine("BEGIN", settings.readers_max), engine("BEGIN IMMEDIATE", 1)


def _set_up_sqlite(connection: Any, _record: object, *, busy_timeout_s: float) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    _turn_to_wal(cursor, tries=ceil(busy_timeout_s / _WAL_TRY_S))
    wait_ms = int(busy_timeout_s * 1000)
    for pragma in (f"busy_timeout={wait_ms}", "synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _turn_to_wal(cursor: Any, *, tries: int) -> None:
    """Of two that do so at once, the second waits in vain for the first to close the file; asked anew, it sees
    that nothing is left to do.
    """
    cursor.execute(f"PRAGMA busy_timeout={int(_WAL_TRY_S * 1000)}")
    for tries_left in reversed(range(tries)):
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if not tries_left:
                raise


def _roll_back(connection: Any, _record: object, _error: object) -> None:
    """Give up the transaction of a caller who was cancelled: a connection that is closed over a statement which
    somebody still holds lives on, and keeps everybody else from writing.
    """
    with suppress(Exception):  # it is closed in any case
        connection.run_async(lambda driver: asyncio.shield(driver.rollback()))


def _postgresql_engines(url: URL, settings: StoreSettings) -> tuple[AsyncEngine, AsyncEngine]:
    def engine(pool_size: int, **options: Any) -> AsyncEngine:
        return create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=settings.busy_timeout_s,
            pool_pre_ping=True,
            connect_args={"timeout": settings.connect_timeout_s, "command_timeout": settings.busy_timeout_s},
            **options,
        )

    readers = engine(settings.readers_max, isolation_level="REPEATABLE READ")
    return readers, engine(settings.writers_max, isolation_level="READ COMMITTED")


async def _check(connection: AsyncConnection, statement: str, wanted: str) -> None:
    got = str(await connection.scalar(text(statement)))
    if got != wanted:
        raise InvalidError(
            f"the database answers {got!r} to {statement!r}, expected {wanted!r}",
            reason="STORE_NOT_DURABLE",
            field="database_url",
            expected=wanted,
            got=got,
        )

"""Transactions on SQLite in a file or PostgreSQL behind a URL, with the drivers' errors turned into ours."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from servemesh.errors import StaleError, UnavailableError
from servemesh.observe import names as telemetry
from servemesh.sql import engines, migrations
from servemesh.sql.engines import StoreSettings

log = logging.getLogger(__name__)

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")


class Database:
    """`async with Database.opened(settings, folder of migrations) as database` migrates the schema first."""

    def __init__(self, readers: AsyncEngine, writers: AsyncEngine) -> None:
        self._readers = readers
        self._writers = writers

    @classmethod
    @asynccontextmanager
    async def opened(cls, settings: StoreSettings, migrations_folder: Path) -> AsyncIterator[Database]:
        """Open for the length of the block. UnavailableError if the database is away."""
        async with engines.opened(settings) as (readers, writers):
            with _translated():
                await engines.check(writers)
                await migrations.upgrade(writers, migrations_folder)
            yield cls(readers, writers)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Read, all as of one moment."""
        with _translated():
            async with self._readers.begin() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self, *locks: str) -> AsyncIterator[AsyncConnection]:
        """Read and write. SQLite has one writer at a time; PostgreSQL one for each of the locks."""
        with _translated():
            async with self._writers.begin() as connection:
                if connection.dialect.name == "postgresql":
                    for name in sorted(set(locks)):
                        await connection.execute(_LOCK, {"name": name})
                yield connection


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        log.warning(telemetry.STORE_WRITE_CONFLICT, extra={"cause": str(error.orig)})
        raise StaleError(
            "another call changed the same resource; try again", reason="WRITE_CONFLICT"
        ) from error
    except PoolTimeoutError as error:
        raise _away() from error
    except DBAPIError as error:
        log.warning(telemetry.STORE_FAILED, extra={"cause": str(error.orig)})
        raise _away() from error
    except (SQLAlchemyError, OSError) as error:
        log.warning(telemetry.STORE_FAILED, extra={"cause": type(error).__name__})
        raise _away() from error


def _away() -> UnavailableError:
    return UnavailableError("the metadata store does not answer; try again", reason="STORE_UNAVAILABLE")

"""The metadata store: SQLite in a file or PostgreSQL behind a URL, with one schema."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from servemesh.errors import StaleError, UnavailableError
from servemesh.observe import names as telemetry
from servemesh.registry.adapters import sql_engines, sql_migrations
from servemesh.registry.adapters.sql_aliases import SqlAliases
from servemesh.registry.adapters.sql_blobs import SqlBlobs
from servemesh.registry.adapters.sql_deployments import SqlDeployments
from servemesh.registry.adapters.sql_engines import StoreSettings
from servemesh.registry.adapters.sql_fleet import SqlFleet
from servemesh.registry.adapters.sql_models import SqlModels
from servemesh.registry.adapters.sql_outbox import SqlDuties, SqlOutbox, SqlRequests
from servemesh.registry.adapters.sql_uploads import SqlUploads

log = logging.getLogger(__name__)

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")


class SqlTransaction:
    """Satisfies ports.Transaction on one connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.models = SqlModels(connection)
        self.aliases = SqlAliases(connection)
        self.deployments = SqlDeployments(connection)
        self.fleet = SqlFleet(connection)
        self.uploads = SqlUploads(connection)
        self.blobs = SqlBlobs(connection)
        self.outbox = SqlOutbox(connection)
        self.requests = SqlRequests(connection)
        self.duties = SqlDuties(connection)


class SqlStore:
    """Satisfies ports.Store. `async with SqlStore.opened(settings) as store` migrates the schema first."""

    def __init__(self, readers: AsyncEngine, writers: AsyncEngine) -> None:
        self._readers = readers
        self._writers = writers

    @classmethod
    @asynccontextmanager
    async def opened(cls, settings: StoreSettings) -> AsyncIterator[SqlStore]:
        """Open for the length of the block. UnavailableError if the database is away."""
        async with sql_engines.opened(settings) as (readers, writers):
            with _translated():
                await sql_engines.check(writers)
                await sql_migrations.upgrade(writers)
            yield cls(readers, writers)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[SqlTransaction]:
        """Read, all as of one moment."""
        with _translated():
            async with self._readers.begin() as connection:
                yield SqlTransaction(connection)

    @asynccontextmanager
    async def writing(self, *locks: str) -> AsyncIterator[SqlTransaction]:
        """Read and write. SQLite has one writer at a time; PostgreSQL one for each of the locks."""
        with _translated():
            async with self._writers.begin() as connection:
                if connection.dialect.name == "postgresql":
                    for name in sorted(set(locks)):
                        await connection.execute(_LOCK, {"name": name})
                yield SqlTransaction(connection)


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

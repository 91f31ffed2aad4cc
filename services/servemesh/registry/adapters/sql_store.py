"""The metadata store: SQLite in a file or PostgreSQL behind a URL, with one schema."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from servemesh.registry.adapters.sql_aliases import SqlAliases
from servemesh.registry.adapters.sql_blobs import SqlBlobs
from servemesh.registry.adapters.sql_deployments import SqlDeployments
from servemesh.registry.adapters.sql_fleet import SqlFleet
from servemesh.registry.adapters.sql_models import SqlModels
from servemesh.registry.adapters.sql_outbox import SqlDuties, SqlOutbox, SqlRequests
from servemesh.registry.adapters.sql_uploads import SqlUploads
from servemesh.sql.database import Database
from servemesh.sql.engines import StoreSettings

_MIGRATIONS = Path(__file__).parent / "migrations"


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

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    @asynccontextmanager
    async def opened(cls, settings: StoreSettings) -> AsyncIterator[SqlStore]:
        """Open for the length of the block. UnavailableError if the database is away."""
        async with Database.opened(settings, _MIGRATIONS) as database:
            yield cls(database)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[SqlTransaction]:
        """Read, all as of one moment."""
        async with self._database.reading() as connection:
            yield SqlTransaction(connection)

    @asynccontextmanager
    async def writing(self, *locks: str) -> AsyncIterator[SqlTransaction]:
        """Read and write. SQLite has one writer at a time; PostgreSQL one for each of the locks."""
        async with self._database.writing(*locks) as connection:
            yield SqlTransaction(connection)

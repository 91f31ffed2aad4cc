"""The optimizer's metadata: SQLite in a file or PostgreSQL behind a URL, with one schema."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from servemesh.optimizer.adapters.sql_facts import SqlFacts, SqlRequests
from servemesh.optimizer.adapters.sql_files import SqlBlobOwners, SqlDatasets, SqlKeptPasses, SqlSources
from servemesh.optimizer.adapters.sql_jobs import SqlJobs, SqlLogLines
from servemesh.sql.database import Database
from servemesh.sql.engines import StoreSettings

_MIGRATIONS = Path(__file__).parent / "migrations"


class SqlTransaction:
    """Satisfies storage.Transaction on one connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.jobs = SqlJobs(connection)
        self.log_lines = SqlLogLines(connection)
        self.sources = SqlSources(connection)
        self.datasets = SqlDatasets(connection)
        self.facts = SqlFacts(connection)
        self.passes = SqlKeptPasses(connection)
        self.requests = SqlRequests(connection)
        self.blob_owners = SqlBlobOwners(connection)


class SqlStore:
    """Satisfies storage.Store. `async with SqlStore.opened(settings) as store` migrates the schema first."""

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

"""Alerts and reports in SQLite: apart from the measurements, because none of it may be lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from servemesh.metrics.adapters.sql_alerts import SqlAlerts, SqlGroups, SqlOutbox, SqlRequests, SqlSilences
from servemesh.metrics.adapters.sql_reports import SqlReports
from servemesh.sql.database import Database
from servemesh.sql.engines import StoreSettings

_MIGRATIONS = Path(__file__).parent / "migrations"


class SqlTransaction:
    """Satisfies alert_storage.Transaction on one connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.alerts = SqlAlerts(connection)
        self.groups = SqlGroups(connection)
        self.silences = SqlSilences(connection)
        self.outbox = SqlOutbox(connection)
        self.reports = SqlReports(connection)
        self.requests = SqlRequests(connection)


class SqlStore:
    """Satisfies alert_storage.AlertStore. `async with SqlStore.opened(settings) as store` migrates the schema first."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    @asynccontextmanager
    async def opened(cls, settings: StoreSettings) -> AsyncIterator[SqlStore]:
        """Open for the length of the block. UnavailableError if the database cannot be opened."""
        async with Database.opened(settings, _MIGRATIONS) as database:
            yield cls(database)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[SqlTransaction]:
        """Read, all as of one moment."""
        async with self._database.reading() as connection:
            yield SqlTransaction(connection)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[SqlTransaction]:
        """Read and write, one at a time."""
        async with self._database.writing("metrics") as connection:
            yield SqlTransaction(connection)

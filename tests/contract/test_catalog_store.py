"""The metadata store itself: its schema, its settings and its absence; on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from servemesh.errors import InvalidError, UnavailableError
from servemesh.registry.adapters import data_lock
from servemesh.registry.adapters.sql_schema import metadata
from servemesh.registry.adapters.sql_store import SqlStore
from servemesh.sql import engines as sql_engines
from servemesh.sql.engines import StoreSettings
from tests.harness.processes import free_ports
from tests.harness.registry import registry_at


async def test_migrations_make_the_schema_that_the_code_expects(database_url: str) -> None:
    async with SqlStore.opened(StoreSettings(url=database_url)):
        pass
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
    url = make_url(database_url)
    engine = create_async_engine(url.set(drivername=drivers[url.get_backend_name()]))
    async with engine.connect() as connection:
        assert await connection.run_sync(_differences) == []
    await engine.dispose()


def _differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection)
    return list(compare_metadata(context, metadata))


async def test_registries_that_start_together_migrate_once(database_url: str) -> None:
    async def start(number: int) -> None:
        async with registry_at(database_url) as registry:
            await registry.catalog.create_model(f"m{number}", "", {})

    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(start(number))
    async with registry_at(database_url) as registry, registry.store.reading() as tx:
        assert await tx.models.count() == 4


async def test_a_change_cut_off_in_the_middle_never_was(database_url: str) -> None:
    async with registry_at(database_url) as registry:
        started = asyncio.Event()

        async def half() -> None:
            async with registry.store.writing("models/iris") as tx:
                await tx.outbox.next_value("models/iris")
                started.set()
                await asyncio.Event().wait()

        async with asyncio.TaskGroup() as group:
            task = group.create_task(half())
            await started.wait()
            task.cancel()
        assert (await registry.catalog.create_model("iris", "", {})).revision == 1


async def test_callers_who_leave_at_any_moment_keep_nobody_from_writing(database_url: str) -> None:
    async with SqlStore.opened(StoreSettings(url=database_url, busy_timeout_s=1.0)) as store:

        async def count() -> int:
            async with store.writing("models/iris") as tx:
                await tx.outbox.next_value("models/iris")
                return await tx.outbox.next_value("models/iris")

        counted = 0
        for turns in range(0, 600, 4):
            leaver = asyncio.create_task(count())
            for _ in range(turns):
                await asyncio.sleep(0)
            leaver.cancel()
            await asyncio.wait([leaver])
            now = await count()
            assert now - counted in (2, 4)
            counted = now


async def test_a_reader_sees_one_moment(database_url: str) -> None:
    async with registry_at(database_url) as registry:
        await registry.catalog.create_model("iris", "", {})
        async with registry.store.reading() as tx:
            assert await tx.models.count() == 1
            await registry.catalog.create_model("wine", "", {})
            assert await tx.models.count() == 1


def test_sqlite_keeps_what_it_acknowledges(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'registry.db'}"

    async def opened() -> None:
        async with registry_at(url):
            pass

    asyncio.run(opened())
    engine = create_engine(url)
    with engine.connect() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
    engine.dispose()


@pytest.mark.parametrize("url", ["", "mysql://localhost/x", "nonsense", "postgresql"])
async def test_a_database_url_of_another_kind_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(InvalidError) as refusal:
        async with SqlStore.opened(StoreSettings(url=url)):
            pass
    assert not url or url not in refusal.value.message.split()


async def test_a_database_that_is_away_is_told(tmp_path: Path) -> None:
    url = f"postgresql://nobody:secret@127.0.0.1:{free_ports(1)[0]}/none"
    with pytest.raises(UnavailableError) as refusal:
        async with SqlStore.opened(StoreSettings(url=url)):
            pass
    assert "secret" not in refusal.value.message


def test_a_data_folder_has_one_registry(tmp_path: Path) -> None:
    with (
        data_lock.locked(tmp_path),
        pytest.raises(Exception, match="another registry"),
        data_lock.locked(tmp_path),
    ):
        pass
    with data_lock.locked(tmp_path):
        pass


def test_sqlite_is_told_from_postgresql() -> None:
    assert sql_engines.is_sqlite("sqlite+aiosqlite:////tmp/x.db")
    assert not sql_engines.is_sqlite("postgresql://u@h/n")

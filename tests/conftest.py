"""Servers for the length of the test session, and the rule that no test leaves anything behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.harness.leaks import Holdings, leaked_since, tasks_leaked_since
from tests.harness.nats_server import NatsServer, running_nats
from tests.harness.postgres import PostgresServer, running_postgres
from tests.harness.seaweed import SeaweedServer, running_seaweed


@pytest.fixture(autouse=True)
def nothing_outlives_its_test() -> Iterator[None]:
    """Fail a test that leaves a thread, a child process or a TCP socket behind."""
    before = Holdings.now()
    yield
    leaked = leaked_since(before)
    assert not leaked, "left behind: " + "; ".join(leaked)


@pytest.fixture(autouse=True)
async def no_task_outlives_its_test(nothing_outlives_its_test: None) -> AsyncIterator[None]:
    """Fail a test that leaves an asyncio task behind."""
    before = asyncio.all_tasks()
    yield
    leaked = await tasks_leaked_since(before)
    assert not leaked, "left behind: " + "; ".join(leaked)


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A NATS server that all tests share: use subjects or stream names of your own, and leave it running."""
    with running_nats(tmp_path_factory.mktemp("nats"), shared=True) as server:
        yield server


@pytest.fixture
def own_nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A NATS server of this test alone, to be killed and started at will."""
    folder = tmp_path / "nats"
    folder.mkdir()
    with running_nats(folder) as server:
        yield server


@pytest.fixture(scope="session")
def seaweed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedServer]:
    """An S3 store that all tests share: use a bucket of your own, and leave it running."""
    with running_seaweed(tmp_path_factory.mktemp("seaweed"), shared=True) as server:
        yield server


@pytest.fixture
def own_seaweed_server(tmp_path: Path) -> Iterator[SeaweedServer]:
    """An S3 store of this test alone, to be killed and started at will."""
    folder = tmp_path / "seaweed"
    folder.mkdir()
    with running_seaweed(folder) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL that all tests share."""
    with running_postgres(shared=True) as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """The URL of an empty database of this test alone."""
    return postgres_server.new_database()

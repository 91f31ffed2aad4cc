"""The optimizer's metadata store: one suite for memory, SQLite and PostgreSQL."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from servemesh.api.events.v1 import events_pb2
from servemesh.errors import StaleError
from servemesh.optimizer.adapters.sql_schema import metadata
from servemesh.optimizer.adapters.sql_store import SqlStore
from servemesh.optimizer.domain.jobs import JobError, Kind, State
from servemesh.optimizer.domain.records import Fact, FactKind, JobRecord, LogLine
from servemesh.optimizer.domain.results import Interval, OptimizationResult, VariantReport
from servemesh.optimizer.service.storage import Store
from servemesh.requests import RequestKey
from servemesh.sql.engines import StoreSettings
from tests.harness.optimizer_store import MemoryOptimizerStore
from tests.harness.optimizer_values import (
    CONVERTED,
    FOUND,
    OPTIMIZATION,
    START,
    a_conversion,
    a_dataset,
    a_job,
    a_kept_pass,
    a_record,
    a_source,
    digest,
)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store."""
    if request.param == "memory":
        yield MemoryOptimizerStore()
        return
    sqlite = f"sqlite:///{tmp_path / 'optimizer.db'}"
    url = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    async with SqlStore.opened(StoreSettings(url=url)) as opened:
        yield opened


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
    return list(compare_metadata(MigrationContext.configure(connection), metadata))


async def test_a_job_comes_back_as_it_was_put(store: Store) -> None:
    record = a_record()
    error = JobError(reason="TIME_EXCEEDED", message="too slow", field="limits.time")
    ended = replace(
        record.job, state=State.FAILED, epoch=3, error=error, end_time=START, progress_percent=41.5
    )
    async with store.writing(record.name) as tx:
        await tx.jobs.add(record)
        await tx.jobs.put(ended)
        await tx.jobs.put_result(record.name, FOUND)
    async with store.reading() as tx:
        assert await tx.jobs.find(record.name) == JobRecord(job=ended, spec=record.spec, result=FOUND)
        assert await tx.jobs.find("evaluations/j2") is None


async def test_specs_and_results_of_every_kind_come_back(store: Store) -> None:
    conversion = JobRecord(job=a_job("c1", kind=Kind.CONVERSION), spec=a_conversion())
    optimization = JobRecord(job=a_job("o1", kind=Kind.OPTIMIZATION), spec=OPTIMIZATION)
    async with store.writing("jobs") as tx:
        await tx.jobs.add(conversion)
        await tx.jobs.add(optimization)
        await tx.jobs.put_result(conversion.name, CONVERTED)
    async with store.reading() as tx:
        assert await tx.jobs.find(conversion.name) == replace(conversion, result=CONVERTED)
        assert await tx.jobs.find(optimization.name) == optimization


async def test_figures_that_json_does_not_have_come_back(store: Store) -> None:
    speed = VariantReport(metric=Interval(value=math.inf, low=-math.inf, high=0.5))
    async with store.writing("jobs") as tx:
        await tx.jobs.add(a_record())
        await tx.jobs.put_result("evaluations/j1", OptimizationResult(variants=(speed,)))
        found = await tx.jobs.find("evaluations/j1")
        assert found is not None
        assert found.result == OptimizationResult(variants=(speed,))


async def test_two_jobs_cannot_have_one_name(store: Store) -> None:
    async with store.writing("jobs") as tx:
        await tx.jobs.add(a_record())
    with pytest.raises(StaleError):
        async with store.writing("jobs") as tx:
            await tx.jobs.add(a_record())


async def test_jobs_are_listed_newest_first_and_due_ones_oldest_first(store: Store) -> None:
    async with store.writing("jobs") as tx:
        for number in range(4):
            await tx.jobs.add(a_record(f"j{number}"))
        await tx.jobs.add(a_record("j8", due_time=START + timedelta(seconds=5)))
        await tx.jobs.add(a_record("j9", state=State.SUCCEEDED))
        await tx.jobs.add(JobRecord(job=a_job("o1", kind=Kind.OPTIMIZATION), spec=OPTIMIZATION))
    async with store.reading() as tx:
        newest = await tx.jobs.list(Kind.EVALUATION, before=0, limit=3)
        older = await tx.jobs.list(Kind.EVALUATION, before=newest[-1][0], limit=9)
        assert [record.job.job_id for _, record in newest] == ["j9", "j8", "j3"]
        assert [record.job.job_id for _, record in older] == ["j2", "j1", "j0"]
        due = await tx.jobs.list_due([Kind.EVALUATION], now=START, limit=3)
        assert due == ["evaluations/j0", "evaluations/j1", "evaluations/j2"]
        later = START + timedelta(seconds=5)
        assert len(await tx.jobs.list_due(list(Kind), now=later, limit=9)) == 6
        assert await tx.jobs.count_open() == 6


async def test_jobs_that_ended_long_ago_are_found_and_leave_nothing(store: Store) -> None:
    async with store.writing("jobs") as tx:
        for number, state in enumerate((State.FAILED, State.SUCCEEDED, State.QUEUED)):
            end_time = None if state is State.QUEUED else START - timedelta(hours=number)
            await tx.jobs.add(a_record(f"j{number}", state=state, end_time=end_time))
            await tx.facts.next_revision(f"evaluations/j{number}")
        assert await tx.jobs.list_ended(ended_before=START, limit=9) == ["evaluations/j1"]
        later = START + timedelta(seconds=1)
        ended = await tx.jobs.list_ended(ended_before=later, limit=9)
        assert ended == ["evaluations/j1", "evaluations/j0"]
        await tx.jobs.delete(ended[0])
        assert await tx.jobs.find(ended[0]) is None
        assert await tx.facts.next_revision(ended[0]) == 1


async def test_who_uses_a_source_or_a_dataset_is_known_until_the_job_ends(store: Store) -> None:
    spec = a_conversion(dataset="datasets/digits")
    record = JobRecord(job=a_job("c1", kind=Kind.CONVERSION), spec=spec)
    async with store.writing("jobs") as tx:
        await tx.jobs.add(record)
        assert await tx.jobs.users_of("datasets/digits") == [record.name]
        assert await tx.jobs.users_of(spec.source) == [record.name]
        assert await tx.jobs.users_of("datasets/others") == []
        await tx.jobs.put(replace(record.job, state=State.CANCELLED))
        assert await tx.jobs.users_of("datasets/digits") == []


async def test_a_log_is_read_in_order_and_goes_with_its_job(store: Store) -> None:
    lines = [LogLine(log_time=START, epoch=1, text=f"line {number}") for number in range(5)]
    async with store.writing("jobs") as tx:
        await tx.jobs.add(a_record())
        await tx.log_lines.add("evaluations/j1", lines[:3])
        await tx.log_lines.add("evaluations/j1", lines[3:])
        await tx.log_lines.add("evaluations/j1", [])
    async with store.writing("jobs") as tx:
        first = await tx.log_lines.list("evaluations/j1", after=0, limit=2)
        rest = await tx.log_lines.list("evaluations/j1", after=first[-1].row_id, limit=9)
        assert [line.text for line in (*first, *rest)] == [line.text for line in lines]
        assert await tx.log_lines.count("evaluations/j1") == 5
        await tx.jobs.delete("evaluations/j1")
        assert await tx.log_lines.count("evaluations/j1") == 0


async def test_sources_and_datasets_come_back_as_they_were_put(store: Store) -> None:
    old, new = a_source("old"), a_source("new", use_time=START + timedelta(days=1))
    async with store.writing("datasets") as tx:
        for source in (old, new):
            await tx.sources.put(source)
        for name in ("b", "a", "c"):
            await tx.datasets.put(a_dataset(name))
    async with store.writing("datasets") as tx:
        assert await tx.sources.find(old.digest) == old
        horizon = START + timedelta(hours=1)
        assert await tx.sources.list_unused(used_before=horizon, limit=9) == [old]
        assert await tx.datasets.find("a") == a_dataset("a")
        assert [dataset.dataset_id for dataset in await tx.datasets.list(after="a", limit=9)] == ["b", "c"]
        assert await tx.datasets.count() == 3
        assert await tx.datasets.is_made_of(a_dataset().source)
        await tx.sources.delete(old.digest)
        await tx.datasets.delete("a")
        assert await tx.sources.find(old.digest) is None
        assert await tx.datasets.find("a") is None


async def test_kept_passes_are_found_by_key_and_by_model_and_oldest_first(store: Store) -> None:
    later = START + timedelta(hours=1)
    async with store.writing("passes") as tx:
        await tx.passes.put(a_kept_pass("k1", use_time=later))
        await tx.passes.put(a_kept_pass("k2"))
        assert await tx.passes.find("k2") == a_kept_pass("k2")
        assert (await tx.passes.find_model(digest("k1"))) == a_kept_pass("k1", use_time=later)
        assert [kept.cache_key for kept in await tx.passes.list_oldest(limit=9)] == ["k2", "k1"]
        assert await tx.passes.size_bytes() == 20
        await tx.passes.delete(["k2"])
        assert await tx.passes.find("k2") is None


async def test_facts_are_numbered_per_job_and_kept_until_they_are_sent(store: Store) -> None:
    async with store.writing("facts") as tx:
        for kind in (FactKind.QUEUED, FactKind.FAILED):
            fact = Fact(
                event_id=f"id-{kind}",
                kind=kind,
                job="evaluations/j1",
                noun="evaluation",
                revision=await tx.facts.next_revision("evaluations/j1"),
                occur_time=START,
                reason="TIME_EXCEEDED" if kind is FactKind.FAILED else "",
            )
            await tx.facts.add(fact)
    async with store.writing("facts") as tx:
        rows = await tx.facts.list_unsent(limit=9)
        assert [row.subject for row in rows] == [
            "servemesh.v1.optimizer.job.queued.evaluation",
            "servemesh.v1.optimizer.job.failed.evaluation",
        ]
        event = events_pb2.Event.FromString(rows[1].data)
        assert (event.source, event.resource, event.revision) == ("optimizer", "evaluations/j1", 2)
        assert event.job_failed.reason == "TIME_EXCEEDED"
        await tx.facts.delete([rows[0].row_id])
        assert await tx.facts.list_unsent(limit=9) == [rows[1]]


async def test_answers_and_owners_of_blobs_are_remembered_until_they_are_deleted(store: Store) -> None:
    request = RequestKey(request_id=digest("r")[:36], sha256=digest("r"))
    async with store.writing("requests") as tx:
        await tx.requests.put(request, "datasets/digits", create_time=START)
        assert await tx.requests.find(request.request_id) == (request.sha256, "datasets/digits")
        await tx.requests.delete(created_before=START + timedelta(seconds=1))
        assert await tx.requests.find(request.request_id) is None
        await tx.blob_owners.add("o1")
        assert await tx.blob_owners.known(["o1", "o2"]) == {"o1"}
        await tx.blob_owners.delete("o1")
        assert await tx.blob_owners.known(["o1"]) == frozenset()


async def test_what_an_error_interrupts_never_was(store: Store) -> None:
    async def half() -> None:
        async with store.writing("jobs") as tx:
            await tx.jobs.add(a_record())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await half()
    async with store.reading() as tx:
        assert await tx.jobs.find("evaluations/j1") is None

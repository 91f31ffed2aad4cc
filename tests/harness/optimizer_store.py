"""The optimizer's metadata store in memory: the whole port, one writer at a time, all or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from servemesh.errors import StaleError
from servemesh.events import subjects
from servemesh.optimizer.adapters import event_messages
from servemesh.optimizer.domain.jobs import Job, Kind
from servemesh.optimizer.domain.records import (
    Dataset,
    Fact,
    FactRow,
    JobRecord,
    KeptPass,
    LogLine,
    Source,
)
from servemesh.optimizer.domain.results import JobResult
from servemesh.requests import RequestKey


@dataclass(slots=True)
class _Tables:
    """All rows. Values never change, so a copy of the containers is a copy of everything."""

    rows_made: int = 0
    jobs: dict[str, tuple[int, JobRecord]] = field(default_factory=dict)
    lines: dict[str, tuple[LogLine, ...]] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    datasets: dict[str, Dataset] = field(default_factory=dict)
    passes: dict[str, KeptPass] = field(default_factory=dict)
    facts: dict[int, FactRow] = field(default_factory=dict)
    revisions: dict[str, int] = field(default_factory=dict)
    requests: dict[str, tuple[str, str, datetime]] = field(default_factory=dict)
    owners: dict[str, None] = field(default_factory=dict)

    def copy(self) -> _Tables:
        """Return tables that can change without these."""
        names = (name for name in self.__slots__ if name != "rows_made")
        return _Tables(rows_made=self.rows_made, **{name: dict(getattr(self, name)) for name in names})

    def next_row_id(self) -> int:
        """Count rows."""
        self.rows_made += 1
        return self.rows_made


class MemoryJobs:
    """Satisfies storage.Jobs."""

    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    async def add(self, record: JobRecord) -> None:
        if record.name in self._tables.jobs:
            raise StaleError("there is one", reason="WRITE_CONFLICT")
        self._tables.jobs[record.name] = (self._tables.next_row_id(), record)

    async def find(self, name: str) -> JobRecord | None:
        return self._tables.jobs.get(name, (0, None))[1]

    async def put(self, job: Job) -> None:
        self._change(job.name, job=job)

    async def put_result(self, name: str, result: JobResult) -> None:
        self._change(name, result=result)

    async def list(self, kind: Kind, *, before: int, limit: int) -> Sequence[tuple[int, JobRecord]]:
        rows = [
            (row_id, record)
            for row_id, record in self._tables.jobs.values()
            if record.job.kind is kind and (not before or row_id < before)
        ]
        return sorted(rows, key=lambda row: -row[0])[:limit]

    async def list_due(self, kinds: Sequence[Kind], *, now: datetime, limit: int) -> Sequence[str]:
        rows = sorted(self._tables.jobs.values(), key=lambda row: row[0])
        return [record.name for _, record in rows if record.job.kind in kinds and record.job.is_due(now)][
            :limit
        ]

    async def count_open(self) -> int:
        return len(self._open())

    async def users_of(self, resource: str) -> Sequence[str]:
        return [
            record.name
            for record in self._open()
            if resource in (record.spec.dataset, getattr(record.spec, "source", ""))
        ]

    async def list_ended(self, *, ended_before: datetime, limit: int) -> Sequence[str]:
        jobs = [record.job for _, record in self._tables.jobs.values()]
        ended = [(job.end_time, job.name) for job in jobs if job.end_time and job.end_time < ended_before]
        return [name for _, name in sorted(ended)][:limit]

    async def delete(self, name: str) -> None:
        for rows in (self._tables.jobs, self._tables.lines, self._tables.revisions):
            rows.pop(name, None)  # type: ignore[attr-defined]

    def _open(self) -> Sequence[JobRecord]:
        return [record for _, record in self._tables.jobs.values() if not record.job.has_ended]

    def _change(self, name: str, **changes: object) -> None:
        row_id, record = self._tables.jobs[name]
        self._tables.jobs[name] = (row_id, replace(record, **changes))  # type: ignore[arg-type]


class MemoryLogLines:
    """Satisfies storage.LogLines."""

    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    async def add(self, name: str, lines: Sequence[LogLine]) -> None:
        kept = [replace(line, row_id=self._tables.next_row_id()) for line in lines]
        self._tables.lines[name] = (*self._tables.lines.get(name, ()), *kept)

    async def list(self, name: str, *, after: int, limit: int) -> Sequence[LogLine]:
        return [line for line in self._tables.lines.get(name, ()) if line.row_id > after][:limit]

    async def count(self, name: str) -> int:
        return len(self._tables.lines.get(name, ()))


class MemorySources:
    """Satisfies storage.SourceRows."""

    def __init__(self, tables: _Tables) -> None:
        self._rows = tables.sources

    async def find(self, digest: str) -> Source | None:
        return self._rows.get(digest)

    async def put(self, source: Source) -> None:
        self._rows[source.digest] = source

    async def list_unused(self, *, used_before: datetime, limit: int) -> Sequence[Source]:
        unused = [source for source in self._rows.values() if source.use_time < used_before]
        return sorted(unused, key=lambda source: source.use_time)[:limit]

    async def delete(self, digest: str) -> None:
        self._rows.pop(digest, None)


class MemoryDatasets:
    """Satisfies storage.DatasetRows."""

    def __init__(self, tables: _Tables) -> None:
        self._rows = tables.datasets

    async def find(self, dataset_id: str) -> Dataset | None:
        return self._rows.get(dataset_id)

    async def put(self, dataset: Dataset) -> None:
        self._rows[dataset.dataset_id] = dataset

    async def list(self, *, after: str, limit: int) -> Sequence[Dataset]:
        return [self._rows[key] for key in sorted(self._rows) if key > after][:limit]

    async def count(self) -> int:
        return len(self._rows)

    async def is_made_of(self, source: str) -> bool:
        return any(dataset.source == source for dataset in self._rows.values())

    async def delete(self, dataset_id: str) -> None:
        self._rows.pop(dataset_id, None)


class MemoryFacts:
    """Satisfies storage.Facts."""

    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    async def next_revision(self, job: str) -> int:
        self._tables.revisions[job] = self._tables.revisions.get(job, 0) + 1
        return self._tables.revisions[job]

    async def add(self, fact: Fact) -> None:
        row_id = self._tables.next_row_id()
        self._tables.facts[row_id] = FactRow(
            row_id=row_id,
            event_id=fact.event_id,
            subject=subjects.job_fact(fact.kind.value, fact.noun),
            data=event_messages.encoded(fact),
        )

    async def list_unsent(self, *, limit: int) -> Sequence[FactRow]:
        return [self._tables.facts[key] for key in sorted(self._tables.facts)][:limit]

    async def delete(self, row_ids: Sequence[int]) -> None:
        for row_id in row_ids:
            self._tables.facts.pop(row_id, None)


class MemoryKeptPasses:
    """Satisfies storage.KeptPasses."""

    def __init__(self, tables: _Tables) -> None:
        self._rows = tables.passes

    async def find(self, cache_key: str) -> KeptPass | None:
        return self._rows.get(cache_key)

    async def find_model(self, sha256: str) -> KeptPass | None:
        kept = [kept for kept in self._rows.values() if kept.sha256 == sha256]
        return max(kept, key=lambda kept: kept.use_time, default=None)

    async def put(self, kept: KeptPass) -> None:
        self._rows[kept.cache_key] = kept

    async def list_oldest(self, *, limit: int) -> Sequence[KeptPass]:
        return sorted(self._rows.values(), key=lambda kept: (kept.use_time, kept.cache_key))[:limit]

    async def size_bytes(self) -> int:
        return sum(kept.size_bytes for kept in self._rows.values())

    async def delete(self, cache_keys: Sequence[str]) -> None:
        for key in cache_keys:
            self._rows.pop(key, None)


class MemoryRequests:
    """Satisfies storage.Requests."""

    def __init__(self, tables: _Tables) -> None:
        self._rows = tables.requests

    async def find(self, request_id: str) -> tuple[str, str] | None:
        found = self._rows.get(request_id)
        return found[:2] if found is not None else None

    async def put(self, request: RequestKey, answer: str, *, create_time: datetime) -> None:
        self._rows[request.request_id] = (request.sha256, answer, create_time)

    async def delete(self, *, created_before: datetime) -> None:
        for key in [key for key, row in self._rows.items() if row[2] < created_before]:
            del self._rows[key]


class MemoryBlobOwners:
    """Satisfies storage.BlobOwners."""

    def __init__(self, tables: _Tables) -> None:
        self._rows = tables.owners

    async def add(self, owner: str) -> None:
        self._rows[owner] = None

    async def known(self, owners: Sequence[str]) -> frozenset[str]:
        return frozenset(owners) & self._rows.keys()

    async def delete(self, owner: str) -> None:
        self._rows.pop(owner, None)


class MemoryTransaction:
    """Satisfies storage.Transaction."""

    def __init__(self, tables: _Tables) -> None:
        self.jobs = MemoryJobs(tables)
        self.log_lines = MemoryLogLines(tables)
        self.sources = MemorySources(tables)
        self.datasets = MemoryDatasets(tables)
        self.facts = MemoryFacts(tables)
        self.passes = MemoryKeptPasses(tables)
        self.requests = MemoryRequests(tables)
        self.blob_owners = MemoryBlobOwners(tables)


class MemoryOptimizerStore:
    """Satisfies storage.Store."""

    def __init__(self) -> None:
        self._tables = _Tables()
        self._writing = asyncio.Lock()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[MemoryTransaction]:
        """Read, all as of one moment."""
        yield MemoryTransaction(self._tables.copy())

    @asynccontextmanager
    async def writing(self, *locks: str) -> AsyncIterator[MemoryTransaction]:
        """Read and write; what an error interrupts never was."""
        async with self._writing:
            tables = self._tables.copy()
            yield MemoryTransaction(tables)
            self._tables = tables

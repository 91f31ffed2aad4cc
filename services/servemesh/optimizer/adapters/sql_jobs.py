"""Rows of jobs and of their logs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from servemesh.optimizer.adapters import sql_schema as schema
from servemesh.optimizer.domain.jobs import Job, Kind
from servemesh.optimizer.domain.records import JobRecord, LogLine
from servemesh.optimizer.domain.results import ConversionResult, JobResult, OptimizationResult
from servemesh.optimizer.domain.specs import ConversionSpec, EvaluationSpec, OptimizationSpec
from servemesh.sql import rows as sql_rows
from servemesh.sql.codec import Codec, from_us, to_us

_JOB = Codec(Job)
_SPECS: dict[Kind, Codec[Any]] = {
    Kind.CONVERSION: Codec(ConversionSpec),
    Kind.OPTIMIZATION: Codec(OptimizationSpec),
    Kind.EVALUATION: Codec(EvaluationSpec),
}
_OPTIMIZATION_RESULT = Codec(OptimizationResult, figures=True)
_RESULTS: dict[Kind, Codec[Any]] = {
    Kind.CONVERSION: Codec(ConversionResult, figures=True),
    Kind.OPTIMIZATION: _OPTIMIZATION_RESULT,
    Kind.EVALUATION: _OPTIMIZATION_RESULT,
}


class SqlJobs:
    """Satisfies storage.Jobs."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, record: JobRecord) -> None:
        """Insert; IntegrityError if there is one of that name."""
        job, spec = record.job, record.spec
        values = {
            "name": job.name,
            "kind": job.kind.value,
            "source": getattr(spec, "source", ""),
            "dataset": spec.dataset,
            "spec": _SPECS[job.kind].dumps(spec),
            **_changing(job),
        }
        await self._connection.execute(insert(schema.jobs).values(**values))

    async def find(self, name: str) -> JobRecord | None:
        """The job, if there is one."""
        found = await self._connection.execute(select(schema.jobs).where(schema.jobs.c.name == name))
        row = found.one_or_none()
        return _record(row) if row is not None else None

    async def put(self, job: Job) -> None:
        """Replace how it stands."""
        table = schema.jobs
        await self._connection.execute(update(table).where(table.c.name == job.name).values(**_changing(job)))

    async def put_result(self, name: str, result: JobResult) -> None:
        """Replace what it has found."""
        codec = _RESULTS[Kind(name.partition("/")[0])]
        table = schema.jobs
        await self._connection.execute(
            update(table).where(table.c.name == name).values(result=codec.dumps(result))
        )

    async def list(self, kind: Kind, *, before: int, limit: int) -> Sequence[tuple[int, JobRecord]]:
        """Newest first, those with a number below `before`; 0 is from the newest on."""
        table = schema.jobs
        query = select(table).where(table.c.kind == kind.value)
        if before:
            query = query.where(table.c.row_id < before)
        rows = await self._connection.execute(query.order_by(table.c.row_id.desc()).limit(limit))
        return [(row.row_id, _record(row)) for row in rows]

    async def list_due(self, kinds: Sequence[Kind], *, now: datetime, limit: int) -> Sequence[str]:
        """Names of jobs that may be taken, oldest first."""
        table = schema.jobs
        query = select(table.c.name).where(
            table.c.due_time <= to_us(now), table.c.kind.in_([kind.value for kind in kinds])
        )
        return list(await self._connection.scalars(query.order_by(table.c.row_id).limit(limit)))

    async def count_open(self) -> int:
        """How many have not ended."""
        return await sql_rows.count(self._connection, schema.jobs, schema.jobs.c.due_time.is_not(None))

    async def users_of(self, resource: str) -> Sequence[str]:
        """Names of some jobs that have not ended and need this Source or Dataset."""
        table = schema.jobs
        uses = or_(table.c.source == resource, table.c.dataset == resource)
        query = select(table.c.name).where(uses, table.c.due_time.is_not(None)).limit(3)
        return list(await self._connection.scalars(query))

    async def list_ended(self, *, ended_before: datetime, limit: int) -> Sequence[str]:
        """Names of those that ended before that, longest ago first."""
        table = schema.jobs
        query = select(table.c.name).where(table.c.end_time < to_us(ended_before))
        return list(await self._connection.scalars(query.order_by(table.c.end_time).limit(limit)))

    async def delete(self, name: str) -> None:
        """Remove, with its log and its count of revisions."""
        await self._connection.execute(delete(schema.jobs).where(schema.jobs.c.name == name))
        await self._connection.execute(delete(schema.counters).where(schema.counters.c.name == name))


class SqlLogLines:
    """Satisfies storage.LogLines."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, name: str, lines: Sequence[LogLine]) -> None:
        """Append."""
        if lines:
            values = [
                {"job": name, "log_time": to_us(line.log_time), "epoch": line.epoch, "text": line.text}
                for line in lines
            ]
            await self._connection.execute(insert(schema.log_lines), values)

    async def list(self, name: str, *, after: int, limit: int) -> Sequence[LogLine]:
        """Oldest first, those numbered above `after`."""
        table = schema.log_lines
        query = select(table).where(table.c.job == name, table.c.row_id > after)
        rows = await self._connection.execute(query.order_by(table.c.row_id).limit(limit))
        return [
            LogLine(row_id=row.row_id, log_time=from_us(row.log_time), epoch=row.epoch, text=row.text)
            for row in rows
        ]

    async def count(self, name: str) -> int:
        """How many there are."""
        return await sql_rows.count(self._connection, schema.log_lines, schema.log_lines.c.job == name)


def _changing(job: Job) -> dict[str, Any]:
    return {
        "due_time": None if job.has_ended else to_us(job.due_time),
        "end_time": None if job.end_time is None else to_us(job.end_time),
        "document": _JOB.dumps(job),
    }


def _record(row: Row[Any]) -> JobRecord:
    kind = Kind(row.kind)
    return JobRecord(
        job=_JOB.loads(row.document),
        spec=_SPECS[kind].loads(row.spec),
        result=_RESULTS[kind].loads(row.result) if row.result is not None else None,
    )

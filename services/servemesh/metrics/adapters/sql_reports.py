"""Rows of reports."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from servemesh.metrics.adapters import sql_schema as schema
from servemesh.metrics.adapters.sql_alerts import whole_us
from servemesh.metrics.domain.reporting.reports import Report
from servemesh.sql.codec import Codec

_REPORTS = Codec(Report)


class SqlReports:
    """Satisfies alert_storage.ReportRows."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def find(self, report_id: str) -> Report | None:
        """One, by id."""
        query = select(schema.reports).where(schema.reports.c.report_id == report_id)
        row = (await self._connection.execute(query)).one_or_none()
        return None if row is None else _REPORTS.loads(row.document)

    async def add(self, report: Report) -> bool:
        """Insert; False if there is one of that id."""
        if await self.find(report.report_id) is not None:
            return False
        values = {
            "report_id": report.report_id,
            "create_time": whole_us(report.create_s),
            "document": _REPORTS.dumps(report),
        }
        await self._connection.execute(insert(schema.reports).values(**values))
        return True

    async def list(self, *, before: int, limit: int) -> Sequence[tuple[int, Report]]:
        """Newest first."""
        table = schema.reports
        query = select(table).order_by(table.c.row_id.desc()).limit(limit)
        if before:
            query = query.where(table.c.row_id < before)
        return [(row.row_id, _REPORTS.loads(row.document)) for row in await self._connection.execute(query)]

    async def known(self, report_ids: Sequence[str]) -> frozenset[str]:
        """Those of the ids that there are."""
        table = schema.reports
        found = await self._connection.execute(
            select(table.c.report_id).where(table.c.report_id.in_(report_ids))
        )
        return frozenset(row.report_id for row in found)

    async def list_old(self, *, before_s: float, limit: int) -> Sequence[Report]:
        """Those written before that, oldest first."""
        table = schema.reports
        query = select(table).where(table.c.create_time < whole_us(before_s)).order_by(table.c.row_id)
        return [_REPORTS.loads(row.document) for row in await self._connection.execute(query.limit(limit))]

    async def delete(self, report_id: str) -> None:
        """Forget."""
        await self._connection.execute(delete(schema.reports).where(schema.reports.c.report_id == report_id))

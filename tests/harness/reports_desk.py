"""A desk that writes reports, on real stores, with an analysis that the test can know."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from servemesh.blobs.memory import MemoryStore
from servemesh.errors import ConflictError
from servemesh.metrics.adapters.duck_store import DuckStore
from servemesh.metrics.adapters.sql_store import SqlStore
from servemesh.metrics.domain.figures import Figures
from servemesh.metrics.domain.points import Point, Series
from servemesh.metrics.domain.queries import Kind, Window
from servemesh.metrics.domain.reporting.contents import Outlook
from servemesh.metrics.domain.reporting.reports import Report, ReportFormat
from servemesh.metrics.service.report_gathering import Gathering
from servemesh.metrics.service.reports import Reports, ReportSettings
from servemesh.paging import page_request
from tests.harness.registry import MovedClock
from tests.harness.reported import BEGIN_S, figures_of


class Analysis:
    """Satisfies report_gathering.Analysis with figures that the test can know."""

    async def figures(self, window: Window) -> tuple[Figures, Sequence[Figures], Sequence[Figures]]:
        """One model, one worker."""
        return figures_of(""), [figures_of("models/digits")], [figures_of("workers/worker-1")]

    async def outlook(self, model: str, horizon_s: float) -> Outlook:
        """Too little is known."""
        raise ConflictError("there is too little history")


class NoRenderer:
    """Satisfies reports.Renderer where there is none."""

    async def pdf(self, page: Path) -> Path | None:
        """There is none."""
        return None


class Desk:
    """Reports on real stores, with a clock that the test moves."""

    def __init__(self, store: SqlStore, readings: DuckStore) -> None:
        self.store = store
        self.readings = readings
        self.blobs = MemoryStore(chunk_bytes=100_000)
        self.clock = MovedClock()
        self.clock.jump(BEGIN_S + 86_400 + 3_600 - self.clock.now().timestamp())

    @property
    def reports(self) -> Reports:
        """Anew each time, as after a restart."""
        gathering = Gathering(self.readings, Analysis(), self.store, self.clock)
        return Reports(self.store, self.blobs, gathering, NoRenderer(), self.clock, ReportSettings())

    async def measure(self) -> None:
        """Take one measurement, in the morning of the day."""
        busy = Series.of("servemesh.host.cpu.busy", Kind.GAUGE, host="node-1")
        await self.readings.append([Point(busy, round((BEGIN_S + 28_800) * 1000), 0.5)])

    async def listed(self) -> list[str]:
        page = await self.reports.list(page_request("test", 10, ""))
        return [report.report_id for report in page.items]

    async def downloaded(self, report: Report, format: ReportFormat) -> bytes:
        return b"".join([chunk async for chunk in self.reports.download(report.report_id, format)])

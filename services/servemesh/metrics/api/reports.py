"""Reports on the wire: message in, one call, message out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from servemesh import names
from servemesh.api.metrics.v1 import metrics_pb2 as pb
from servemesh.errors import InvalidError
from servemesh.lifecycle import Clock
from servemesh.metrics.domain.queries import Window
from servemesh.metrics.domain.reporting.reports import Order, Report, ReportFormat, ReportKind
from servemesh.metrics.service.reports import Reports
from servemesh.paging import page_request

Context = Any
PAGE_SIZE = 100
_REPORTS = "reports/"
_FORMATS = {
    pb.REPORT_FORMAT_UNSPECIFIED: ReportFormat.HTML,
    pb.REPORT_FORMAT_HTML: ReportFormat.HTML,
    pb.REPORT_FORMAT_CSV: ReportFormat.CSV,
    pb.REPORT_FORMAT_PDF: ReportFormat.PDF,
}


class ReportsApi:
    """The part of MetricsService that is about reports."""

    def __init__(self, reports: Reports, clock: Clock) -> None:
        self._reports = reports
        self._clock = clock

    async def ListReports(self, request: pb.ListReportsRequest, context: Context) -> pb.ListReportsResponse:
        """List reports."""
        asked = page_request(request.DESCRIPTOR.full_name, request.page_size or PAGE_SIZE, request.page_token)
        page = await self._reports.list(asked)
        found = [_to_report(report) for report in page.items]
        return pb.ListReportsResponse(reports=found, next_page_token=page.next_page_token)

    async def CreateReport(
        self, request: pb.CreateReportRequest, context: Context
    ) -> pb.CreateReportResponse:
        """Write a report."""
        order = _to_order(request.report, self._clock.now().timestamp())
        return pb.CreateReportResponse(report=_to_report(await self._reports.create(order)))

    async def DownloadReport(
        self, request: pb.DownloadReportRequest, context: Context
    ) -> AsyncIterator[pb.DownloadReportResponse]:
        """Send one file."""
        chunks = self._reports.download(_report_id(request.name), _format(request.format))
        async with aclosing(chunks) as parts:
            async for part in parts:
                yield pb.DownloadReportResponse(chunk=part)


def _to_order(wish: pb.Report, now_s: float) -> Order:
    """A window without an end ends now."""
    if wish.kind not in ("", ReportKind.DEMANDED):
        raise InvalidError(
            f"report.kind is {wish.kind[:100]!r}; daily and weekly ones are written by themselves",
            reason="REPORT_KIND_SCHEDULED",
            field="report.kind",
            expected="demanded, or nothing",
            got=wish.kind[:100],
        )
    model_id = names.model_id(wish.model) if wish.model else ""
    end_s = (
        wish.window.end_time.ToDatetime(UTC).timestamp() if wish.window.HasField("end_time") else now_s // 1
    )
    window = Window(begin_s=wish.window.start_time.ToDatetime(UTC).timestamp(), end_s=end_s)
    return Order(kind=ReportKind.DEMANDED, window=window, model=model_id)


def _format(format: Any) -> ReportFormat:
    if format not in _FORMATS:
        raise InvalidError(
            f"format is {format}, expected HTML, CSV or PDF",
            reason="OUT_OF_RANGE",
            field="format",
            expected="1 to 3",
            got=format,
        )
    return _FORMATS[format]


def _report_id(name: str) -> str:
    report_id = name.removeprefix(_REPORTS)
    if not name.startswith(_REPORTS) or not names.is_id(report_id):
        raise InvalidError(
            f"name is {name[:200]!r}, expected reports/{{report}}",
            reason="NAME_MALFORMED",
            field="name",
            name=name[:200],
            expected="reports/{report}",
        )
    return report_id


def _to_report(report: Report) -> pb.Report:
    window, order = report.order.window, report.order
    return pb.Report(
        name=report.name,
        kind=order.kind.value,
        window=pb.Window(start_time=_to_time(window.begin_s), end_time=_to_time(window.end_s)),
        model=names.model(order.model) if order.model else "",
        formats=[pb.ReportFormat.Value(f"REPORT_FORMAT_{file.format.upper()}") for file in report.files],
        create_time=_to_time(report.create_s),
        size_bytes=report.size_bytes,
    )


def _to_time(moment_s: float) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(datetime.fromtimestamp(moment_s, UTC))
    return made

"""Reports: written by schedule or when asked for, once for a window and a subject, kept in the object store."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import tempfile
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from servemesh.blobs.ports import BlobStore
from servemesh.errors import DamagedError, MissingError, OverloadedError, ServemeshError
from servemesh.lifecycle import Clock
from servemesh.metrics.domain.reporting import pages, tables
from servemesh.metrics.domain.reporting.contents import Findings
from servemesh.metrics.domain.reporting.reports import (
    BLOBS,
    Order,
    Report,
    ReportFile,
    ReportFormat,
    blob_key,
    check_order,
)
from servemesh.metrics.domain.reporting.schedule import due
from servemesh.metrics.service.alert_storage import AlertStore
from servemesh.metrics.service.report_gathering import Gathering
from servemesh.observe import metrics
from servemesh.observe import names as telemetry
from servemesh.paging import Page, PageRequest

RETRY_S = 60.0
SWEEP_MAX = 1_000
CHUNK_BYTES = 64 * 1024
log = logging.getLogger(__name__)


class Renderer(Protocol):
    """Makes a PDF of a page."""

    async def pdf(self, page: Path) -> Path | None:
        """Return the file beside `page`; None where no renderer is present, or it fails."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSettings:
    """How often it is looked whether one is due, how many are written at a time, and how long they are kept."""

    interval_s: float = 60.0
    writers_max: int = 2
    waiting_max: int = 16
    retention_s: float = 400 * 86_400.0
    scheduled: bool = True


class Reports:
    """A report is there once its row is: files without one are swept away."""

    def __init__(
        self,
        store: AlertStore,
        blobs: BlobStore,
        gathering: Gathering,
        renderer: Renderer,
        clock: Clock,
        settings: ReportSettings,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._gathering = gathering
        self._renderer = renderer
        self._clock = clock
        self._settings = settings
        self._writing = asyncio.Semaphore(settings.writers_max)
        self._waiting = 0
        self._locks: dict[str, asyncio.Lock] = {}

    async def run(self) -> None:
        """Write what is due until cancelled."""
        while self._settings.scheduled:
            wait_s = self._settings.interval_s
            try:
                await self.write_due()
                await self.sweep()
            except ServemeshError as error:
                log.warning(telemetry.REPORT_WAITING, extra={"reason": error.reason})
                wait_s = max(RETRY_S, wait_s)
            await self._clock.sleep(wait_s)

    async def write_due(self) -> Sequence[Report]:
        """Write the daily and weekly reports that are due, were not written, and have something to say."""
        now_s = self._clock.now().timestamp()
        async with self._store.reading() as tx:
            written = await tx.reports.known([order.report_id for order in due(now_s, ())])
        return [
            await self._write(order)
            for order in due(now_s, written)
            if await self._gathering.was_measured(order.window)
        ]

    async def create(self, order: Order) -> Report:
        """Write one now; the same window and subject give the same report. OverloadedError if many are waited for."""
        check_order(order, self._clock.now().timestamp())
        if self._waiting >= self._settings.waiting_max:
            raise OverloadedError(
                f"{self._waiting} reports are waited for, the most there may be; ask again later",
                reason="REPORTS_MAX",
                retry_after_s=5.0,
                limit=self._settings.waiting_max,
            )
        self._waiting += 1
        try:
            return await self._write(order)
        finally:
            self._waiting -= 1

    async def list(self, page: PageRequest) -> Page[Report]:
        """Newest first."""
        async with self._store.reading() as tx:
            rows = await tx.reports.list(before=page.after_number, limit=page.fetch)
        cut = page.page(rows, lambda row: str(row[0]))
        return Page(items=tuple(report for _, report in cut.items), next_page_token=cut.next_page_token)

    async def download(self, report_id: str, format: ReportFormat) -> AsyncGenerator[bytes]:
        """Yield the bytes of a file. MissingError if there is none; DamagedError if they are not what was stored."""
        async with self._store.reading() as tx:
            report = await tx.reports.find(report_id)
        file = _file(report_id, report, format)
        digest = hashlib.sha256()
        async with self._blobs.open(blob_key(report_id, file)) as chunks:
            async for chunk in chunks:
                digest.update(chunk)
                for start in range(0, len(chunk), CHUNK_BYTES):
                    yield chunk[start : start + CHUNK_BYTES]
        if digest.hexdigest() != file.sha256:
            raise DamagedError(
                f"reports/{report_id} is not what was stored",
                reason="REPORT_DAMAGED",
                name=f"reports/{report_id}",
            )

    async def _write(self, order: Order) -> Report:
        report_id = order.report_id
        lock = self._locks.setdefault(report_id, asyncio.Lock())
        try:
            async with lock, self._writing:
                async with self._store.reading() as tx:
                    known = await tx.reports.find(report_id)
                return known or await self._written(order)
        finally:
            if not lock.locked():
                self._locks.pop(report_id, None)

    async def _written(self, order: Order) -> Report:
        try:
            findings = await self._gathering.findings(order)
            with tempfile.TemporaryDirectory(prefix="servemesh-report-") as folder:
                files = await self._stored(order, findings, Path(folder))
        except ServemeshError:
            metrics.counter(telemetry.METRICS_REPORTS).labels(order.kind.value, "failed").inc()
            raise
        report = Report(order=order, create_s=findings.create_s, files=tuple(files))
        async with self._store.writing() as tx:
            if not await tx.reports.add(report):  # another process of ours was faster
                report = await tx.reports.find(report.report_id) or report
        metrics.counter(telemetry.METRICS_REPORTS).labels(order.kind.value, "written").inc()
        log.info(telemetry.REPORT_WRITTEN, extra={"report": report.name, "size_bytes": report.size_bytes})
        return report

    async def _stored(self, order: Order, findings: Findings, folder: Path) -> Sequence[ReportFile]:
        page = folder / "report.html"
        await asyncio.to_thread(_render, findings, folder)
        paths = {ReportFormat.HTML: page, ReportFormat.CSV: folder / "report.csv"}
        if (pdf := await self._renderer.pdf(page)) is not None:
            paths[ReportFormat.PDF] = pdf
        await self._blobs.ensure_bucket()
        files = []
        for format, path in paths.items():
            file = await asyncio.to_thread(_described, format, path)
            await self._blobs.put_file(blob_key(order.report_id, file), path, sha256=file.sha256)
            files.append(file)
        return files

    async def sweep(self) -> None:
        """Delete reports that are too old, and files that no report has: of writers that died."""
        before_s = self._clock.now().timestamp() - self._settings.retention_s
        async with self._store.reading() as tx:
            old = await tx.reports.list_old(before_s=before_s, limit=SWEEP_MAX)
        for each in old:
            async with self._store.writing() as tx:
                await tx.reports.delete(each.report_id)
        count = 0
        async for blob in self._blobs.list_blobs(BLOBS):
            report_id, _, name = blob.key.removeprefix(BLOBS).partition("/")
            if report_id in self._locks:
                continue
            async with self._store.reading() as tx:
                report = await tx.reports.find(report_id)
            if report is None or not any(name == f"{file.sha256}.{file.format}" for file in report.files):
                await self._blobs.delete(blob.key)
                count += 1
        if count:
            log.info(telemetry.REPORTS_SWEPT, extra={"count": count})


def _file(report_id: str, report: Report | None, format: ReportFormat) -> ReportFile:
    name = f"reports/{report_id}"
    if report is None:
        raise MissingError(f"{name} does not exist", reason="REPORT_MISSING", name=name)
    for file in report.files:
        if file.format is format:
            return file
    has = ", ".join(file.format for file in report.files)
    raise MissingError(
        f"{name} has no {format}, it has {has}",
        reason="REPORT_FILE_MISSING",
        name=name,
        format=format,
        has=has,
    )


def _render(findings: Findings, folder: Path) -> None:
    (folder / "report.html").write_text(pages.html(findings), encoding="utf-8")
    (folder / "report.csv").write_text(tables.as_csv(findings), encoding="utf-8")


def _described(format: ReportFormat, path: Path) -> ReportFile:
    data = path.read_bytes()
    return ReportFile(format=format, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))

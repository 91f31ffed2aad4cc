"""Reports as they are kept: what about, over which window, in which files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from servemesh import names
from servemesh.errors import InvalidError
from servemesh.metrics.domain.queries import Window

DAY_S = 86_400.0
SPAN_S_MAX = 400 * DAY_S
BLOBS = "metrics/reports/"
"""Where their files lie: the registry, which deletes blobs that no Version needs, does not look there."""


class ReportKind(StrEnum):
    """Why a report was written."""

    DAILY = "daily"
    WEEKLY = "weekly"
    DEMANDED = "demanded"


class ReportFormat(StrEnum):
    """What a file of a report is."""

    HTML = "html"
    CSV = "csv"
    PDF = "pdf"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFile:
    """One file of a report."""

    format: ReportFormat
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A report that is wanted: of the mesh, or of the model that is named."""

    kind: ReportKind
    window: Window
    model: str = ""

    @property
    def report_id(self) -> str:
        """The same for the same window and subject. Daily and weekly ones can be told by their ids."""
        day = datetime.fromtimestamp(self.window.begin_s, UTC)
        if self.kind is not ReportKind.DEMANDED:
            return f"{self.kind}-{day:%Y%m%d}"
        told = f"{self.window.begin_s!r} {self.window.end_s!r} {self.model}"
        return f"r{hashlib.sha256(told.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report that was written."""

    order: Order
    create_s: float
    files: tuple[ReportFile, ...]

    @property
    def report_id(self) -> str:
        """Its id."""
        return self.order.report_id

    @property
    def name(self) -> str:
        """`reports/{report}`."""
        return f"reports/{self.report_id}"

    @property
    def size_bytes(self) -> int:
        """Sum over the files."""
        return sum(file.size_bytes for file in self.files)


def blob_key(report_id: str, file: ReportFile) -> str:
    """Where a file lies. One that was written and lost its report in a crash has another key than the next one."""
    return f"{BLOBS}{report_id}/{file.sha256}.{file.format}"


def check_order(order: Order, now_s: float) -> None:
    """InvalidError unless it is about a time that there was, and a model that there can be."""
    if order.model:
        names.model(order.model)
    window = order.window
    if not window.begin_s < window.end_s <= window.begin_s + SPAN_S_MAX or window.begin_s >= now_s:
        raise InvalidError(
            f"report.window goes from {window.begin_s:.0f} to {window.end_s:.0f} (seconds since 1970), expected at "
            "most 400 days that begin before now and end after they begin",
            reason="REPORT_WINDOW_MALFORMED",
            field="report.window",
            start=f"{window.begin_s:.0f}",
            end=f"{window.end_s:.0f}",
        )

"""Operations on alerts, silences and reports."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from google.protobuf.timestamp_pb2 import Timestamp

from servemesh import names
from servemesh.api.metrics.v1 import metrics_pb2 as pb
from servemesh.client import alerts
from servemesh.client.models import PAGE_SIZE, pages
from servemesh.client.steps import Call, Operation, Pause, Receive, Work
from servemesh.errors import ExpiredError, InvalidError, UnavailableError

OnAlert = Callable[[alerts.Alert], None]
FORMATS = ("HTML", "CSV", "PDF")
WATCH_PAUSE_S = 1.0


def rules() -> Operation[list[alerts.AlertRule]]:
    """Return the rules that alerts are made by."""
    answer = yield Call(request=pb.ListAlertRulesRequest())
    return [
        alerts.AlertRule(
            rule=rule.rule,
            summary=rule.summary,
            severity=_word(pb.Severity, rule.severity),
            kind=rule.kind,
            condition=rule.condition,
            runbook=rule.runbook,
        )
        for rule in answer.rules
    ]


def list_alerts(*, with_resolved: bool) -> Operation[list[alerts.Alert]]:
    """Return the alerts, newest first."""
    request = partial(pb.ListAlertsRequest, include_resolved=with_resolved, page_size=PAGE_SIZE)
    return (yield from pages(request, "alerts", _alert))


def watch(on_change: OnAlert, watch_s: float, now_s: Callable[[], float]) -> Operation[None]:
    """Tell of all that are pending or firing, and of every change, for so long; again from the start after a break."""
    until_s = now_s() + watch_s
    while now_s() < until_s:
        with suppress(UnavailableError, ExpiredError):
            yield Receive(
                request=pb.WatchAlertsRequest(), take=lambda response: on_change(_alert(response.alert))
            )
        if now_s() < until_s:
            yield Pause(pause_s=min(WATCH_PAUSE_S, until_s - now_s()))


def silences() -> Operation[list[alerts.Silence]]:
    """Return the silences that have not ended, the soonest to end first."""
    answer = yield Call(request=pb.ListSilencesRequest())
    return [_silence(silence) for silence in answer.silences]


def silence(
    filters: Mapping[str, str | Sequence[str]], end_time: datetime, comment: str
) -> Operation[alerts.Silence]:
    """Create a silence."""
    wish = pb.Silence(
        filters=[
            pb.LabelFilter(label=label, values=[values] if isinstance(values, str) else values)
            for label, values in filters.items()
        ],
        end_time=_timestamp(end_time),
        comment=comment,
    )
    request = pb.CreateSilenceRequest(silence=wish, request_id=str(uuid.uuid4()))
    return _silence((yield Call(request=request)).silence)


def end_silence(name: str) -> Operation[None]:
    """End a silence now."""
    full = name if name.startswith("silences/") else f"silences/{name}"
    yield Call(request=pb.DeleteSilenceRequest(name=full))


def list_reports() -> Operation[list[alerts.Report]]:
    """Return the reports, newest first."""
    return (yield from pages(lambda: pb.ListReportsRequest(page_size=PAGE_SIZE), "reports", _report))


def create_report(model: str, start_time: datetime, end_time: datetime | None) -> Operation[alerts.Report]:
    """Have a report written."""
    window = pb.Window(start_time=_timestamp(start_time))
    if end_time is not None:
        window.end_time.CopyFrom(_timestamp(end_time))
    wish = pb.Report(window=window, model=names.model(model) if model else "")
    return _report((yield Call(request=pb.CreateReportRequest(report=wish))).report)


def download_report(name: str, format: str, path: Path) -> Operation[int]:
    """Write one file of a report to `path`, which appears when it is whole; return its size in bytes."""
    if format.upper() not in FORMATS:
        raise InvalidError(
            f"format is {format!r}, expected one of {', '.join(FORMATS)}",
            reason="OUT_OF_RANGE",
            field="format",
            expected=", ".join(FORMATS),
            got=format,
        )
    full = name if name.startswith("reports/") else f"reports/{name}"
    wanted = pb.ReportFormat.Value(f"REPORT_FORMAT_{format.upper()}")
    arriving = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")
    file: BinaryIO = yield Work(work=partial(arriving.open, "wb"))
    try:
        yield Receive(
            request=pb.DownloadReportRequest(name=full, format=wanted),
            take=lambda response: _taken(file, response.chunk),
        )
        size_bytes = file.tell()
        file.close()
        yield Work(work=partial(arriving.replace, path))
        return size_bytes
    finally:
        file.close()
        arriving.unlink(missing_ok=True)


def _taken(file: BinaryIO, chunk: bytes) -> None:
    file.write(chunk)


def _alert(alert: Any) -> alerts.Alert:
    return alerts.Alert(
        name=alert.name,
        rule=alert.rule,
        labels=dict(alert.labels),
        state=_word(pb.AlertState, alert.state),
        severity=_word(pb.Severity, alert.severity),
        text=alert.text,
        value=alert.value,
        start_time=alert.start_time.ToDatetime(UTC),
        fire_time=_time(alert, "fire_time"),
        resolve_time=_time(alert, "resolve_time"),
        silenced=alert.silenced,
        runbook=alert.runbook,
    )


def _silence(silence: Any) -> alerts.Silence:
    return alerts.Silence(
        name=silence.name,
        filters={each.label: tuple(each.values) for each in silence.filters},
        end_time=silence.end_time.ToDatetime(UTC),
        comment=silence.comment,
        create_time=silence.create_time.ToDatetime(UTC),
    )


def _report(report: Any) -> alerts.Report:
    return alerts.Report(
        name=report.name,
        kind=report.kind,
        model=names.model_id(report.model) if report.model else "",
        start_time=report.window.start_time.ToDatetime(UTC),
        end_time=report.window.end_time.ToDatetime(UTC),
        formats=tuple(_word(pb.ReportFormat, each) for each in report.formats),
        create_time=report.create_time.ToDatetime(UTC),
        size_bytes=report.size_bytes,
    )


def _word(kind: Any, value: int) -> str:
    """The last part of an enum's name: FIRING of ALERT_STATE_FIRING."""
    return str(kind.Name(value)).rpartition("_")[2]


def _time(message: Any, field: str) -> datetime | None:
    return getattr(message, field).ToDatetime(UTC) if message.HasField(field) else None


def _timestamp(moment: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(moment.astimezone(UTC))
    return made

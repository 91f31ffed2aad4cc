"""`servemesh report mesh | model | ls | get`: reports of the metrics service about a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from servemesh.cli import output
from servemesh.cli.options import Address, AsJson, ModelName, connected, long_span_s
from servemesh.client import Client
from servemesh.client.alerts import Report
from servemesh.errors import InvalidError
from servemesh.lifecycle import SystemClock

_TIME = "%Y-%m-%d %H:%M"
_DAY = timedelta(days=1)
Last = Annotated[str, typer.Option("--last", metavar="SPAN", help="How far back: 90m, 24h, 7d.")]
Day = Annotated[
    str | None, typer.Option("--day", metavar="YYYY-MM-DD", help="That day (UTC) instead of the last hours.")
]
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Save the page.")]
Csv = Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Save the figures.")]
Pdf = Annotated[Path | None, typer.Option("--pdf", metavar="FILE", help="Save the page as PDF.")]
ReportName = Annotated[str, typer.Argument(metavar="REPORT", help="Name of the report, or its last part.")]


def mesh(
    address: Address,
    last: Last = "24h",
    day: Day = None,
    html: Html = None,
    csv: Csv = None,
    pdf: Pdf = None,
    as_json: AsJson = False,
) -> None:
    """Write a report on the mesh: availability, latency, errors with their cause, alerts, cost, changes, forecast."""
    _written(address, "", last, day, {"HTML": html, "CSV": csv, "PDF": pdf}, as_json=as_json)


def model(
    name: ModelName,
    address: Address,
    last: Last = "24h",
    day: Day = None,
    html: Html = None,
    csv: Csv = None,
    pdf: Pdf = None,
    as_json: AsJson = False,
) -> None:
    """Write a report on one model."""
    _written(address, name, last, day, {"HTML": html, "CSV": csv, "PDF": pdf}, as_json=as_json)


def ls(address: Address, as_json: AsJson = False) -> None:
    """List the reports, newest first: daily and weekly ones are written by themselves."""
    with connected(address) as client:
        found = client.metrics.reports()
    if as_json:
        output.print_json(found)
        return
    rows = (
        (
            each.name,
            each.kind,
            each.model or "mesh",
            each.start_time.strftime(_TIME),
            each.end_time.strftime(_TIME),
            " ".join(each.formats),
            output.size(each.size_bytes),
        )
        for each in found
    )
    columns = ("REPORT", "KIND", "ABOUT", "FROM (UTC)", "TO (UTC)", "FILES", "SIZE")
    output.print_table(columns, rows, empty="No reports yet: `servemesh report mesh` writes one.")


def get(report: ReportName, address: Address, html: Html = None, csv: Csv = None, pdf: Pdf = None) -> None:
    """Save files of a report; without an option, its page under its name."""
    name = report.removeprefix("reports/")
    wanted = {"HTML": html, "CSV": csv, "PDF": pdf}
    if not any(wanted.values()):
        wanted["HTML"] = Path(f"{name}.html")
    with connected(address) as client:
        _saved(client, name, wanted)


def _written(
    address: str, model: str, last: str, day: str | None, files: dict[str, Path | None], *, as_json: bool
) -> None:
    begin, end = _window(last, day)
    with connected(address) as client:
        made = client.metrics.create_report(begin, end, model=model)
        if as_json:
            output.print_json(made)
        _saved(client, made.name, files, quiet=as_json)
    if not as_json and not any(files.values()):
        output.out.print(_told(made), soft_wrap=True)


def _told(report: Report) -> str:
    name = report.name.removeprefix("reports/")
    return f"{report.name}: {', '.join(report.formats)}; save it with `servemesh report get {name}`"


def _saved(client: Client, name: str, files: dict[str, Path | None], *, quiet: bool = False) -> None:
    for format, path in files.items():
        if path is not None:
            client.metrics.download_report(name, path, format=format)
            if not quiet:
                output.out.print(str(path), soft_wrap=True)


def _window(last: str, day: str | None) -> tuple[datetime, datetime | None]:
    if day is None:
        now = SystemClock().now().replace(microsecond=0)
        return now - timedelta(seconds=long_span_s(last, "--last")), None
    try:
        begin = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise InvalidError(
            f"--day is {day!r}, expected a date such as 2026-11-21",
            reason="OPTION_MALFORMED",
            field="--day",
            expected="YYYY-MM-DD",
            got=day,
        ) from None
    return begin, begin + _DAY

"""`servemesh alert`: ls, rules, watch; `servemesh silence`: create, ls, end."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from typing import Annotated

import typer
from rich.markup import escape

from servemesh.cli import output
from servemesh.cli.options import Address, AsJson, connected, long_span_s, pairs
from servemesh.client.alerts import Alert
from servemesh.lifecycle import SystemClock

alert_app = typer.Typer(help="What the mesh's own rules have found.", no_args_is_help=True)
silence_app = typer.Typer(help="Alerts that are not to be delivered for a while.", no_args_is_help=True)

_TIME = "%Y-%m-%d %H:%M:%S"
_STYLES = {"FIRING": "red", "PENDING": "yellow", "RESOLVED": "green"}
_ALL = Annotated[bool, typer.Option("--all", help="Those that were resolved, too.")]
_WHICH = Annotated[
    list[str],
    typer.Argument(
        metavar="LABEL=VALUE…",
        help="All must match; rule and severity are labels, too. Several values are separated by commas.",
    ),
]
_FOR = Annotated[str, typer.Option("--for", metavar="SPAN", help="How long: 30m, 2h, 7d.")]
_COMMENT = Annotated[str, typer.Option("--comment", metavar="TEXT", help="Why.")]
_SPAN = Annotated[str, typer.Option("--for", metavar="SPAN", help="How long to watch.")]


@alert_app.command()
def ls(address: Address, all: _ALL = False, as_json: AsJson = False) -> None:
    """List the alerts that are pending or firing, newest first."""
    with connected(address) as client:
        found = client.metrics.alerts(with_resolved=all)
    if as_json:
        output.print_json(found)
        return
    columns = ("STATE", "SEVERITY", "RULE", "SINCE (UTC)", "WHAT", "RUNBOOK")
    output.print_table(columns, (_row(each) for each in found), empty="No alerts.")


@alert_app.command()
def rules(address: Address, as_json: AsJson = False) -> None:
    """List the rules that alerts are made by."""
    with connected(address) as client:
        found = client.metrics.alert_rules()
    if as_json:
        output.print_json(found)
        return
    rows = ((each.rule, each.severity, each.kind, each.condition, each.runbook) for each in found)
    output.print_table(("RULE", "SEVERITY", "KIND", "CONDITION", "RUNBOOK"), rows, empty="No rules.")


@alert_app.command()
def watch(address: Address, span: _SPAN = "1h", as_json: AsJson = False) -> None:
    """Print every alert that is pending or firing, then each that changes, until Ctrl-C."""
    watch_s = long_span_s(span, "--for")
    with connected(address) as client:
        client.metrics.watch_alerts(_print_json_line if as_json else _print_line, watch_s=watch_s)


@silence_app.command()
def create(
    which: _WHICH, address: Address, span: _FOR = "2h", comment: _COMMENT = "", as_json: AsJson = False
) -> None:
    """Keep matching alerts from being delivered: `servemesh silence create rule=disk_filling host=node-1 --for 2h`."""
    filters = {label: values.split(",") for label, values in pairs(which, "LABEL=VALUE").items()}
    end_time = SystemClock().now() + timedelta(seconds=long_span_s(span, "--for"))
    with connected(address) as client:
        made = client.metrics.silence(filters, end_time, comment)
    if as_json:
        output.print_json(made)
    else:
        output.out.print(f"{made.name} until {made.end_time.strftime(_TIME)} UTC")


@silence_app.command("ls")
def ls_silences(address: Address, as_json: AsJson = False) -> None:
    """List the silences that have not ended."""
    with connected(address) as client:
        found = client.metrics.silences()
    if as_json:
        output.print_json(found)
        return
    rows = (
        (
            each.name,
            " ".join(f"{label}={','.join(values)}" for label, values in each.filters.items()),
            each.end_time.strftime(_TIME),
            each.comment,
        )
        for each in found
    )
    output.print_table(("SILENCE", "ALERTS WITH", "UNTIL (UTC)", "COMMENT"), rows, empty="No silences.")


@silence_app.command()
def end(
    silence: Annotated[str, typer.Argument(metavar="SILENCE", help="Its name, or its last part.")],
    address: Address,
) -> None:
    """End a silence now."""
    with connected(address) as client:
        client.metrics.end_silence(silence)


def _row(alert: Alert) -> tuple[str, ...]:
    since = alert.resolve_time or alert.fire_time or alert.start_time
    state = f"{alert.state} (silenced)" if alert.silenced else alert.state
    runbook = alert.runbook.removeprefix("docs/runbooks/")
    return state, alert.severity, alert.rule, since.strftime(_TIME), alert.text, runbook


def _print_line(alert: Alert) -> None:
    style = _STYLES.get(alert.state, "yellow")
    now = SystemClock().now().strftime("%H:%M:%S")
    silenced = " (silenced)" if alert.silenced else ""
    output.out.print(
        f"{now}  [{style}]{alert.state:<8}[/{style}]{silenced}  {alert.severity:<8}  "
        f"{escape(alert.rule)}: {escape(alert.text)}",
        soft_wrap=True,
    )


def _print_json_line(alert: Alert) -> None:
    sys.stdout.write(json.dumps(output.plain(alert), ensure_ascii=False) + "\n")
    sys.stdout.flush()

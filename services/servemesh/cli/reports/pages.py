"""A report as one HTML page that needs nothing else, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from servemesh.cli.reports.contents import Report
from servemesh.cli.reports.picture import drawn

_STYLE = """
:root{color-scheme:light dark;--ink:#1c1e21;--paper:#fff;--dim:#6b7280;--line:#d1d5db;--good:#15803d;--bad:#b45309}
@media(prefers-color-scheme:dark){:root{--ink:#e5e7eb;--paper:#16181c;--dim:#9ca3af;--line:#374151;--good:#4ade80;
--bad:#fbbf24}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:80rem;margin:2rem auto;
padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}.dim,caption{color:var(--dim)}
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;white-space:nowrap}
small{color:var(--dim)}th,td{text-align:left;vertical-align:top;padding:.3rem .5rem;border-bottom:1px solid var(--line)}
svg{max-width:45rem;width:100%;font-size:12px}svg text{fill:var(--ink)}svg .tick{fill:var(--dim)}
.axis{stroke:var(--dim)}.one{stroke:var(--line);stroke-dasharray:4}circle{stroke:var(--paper)}
circle.accepted{fill:var(--good)}circle.refused{fill:var(--bad)}circle.original{fill:var(--dim)}
circle.front{stroke:var(--ink);stroke-width:2}pre{white-space:pre-wrap;font-size:13px}
"""
_LEGEND = (
    "* on the Pareto front: no other variant is better in metric, size and speed at once. C: size after ÷ before. "
    "O: speed after ÷ before, at so many rows per run. [95 % intervals]. p: how likely so great a loss or gain is by "
    "chance (paired permutation test)."
)

_SENSITIVITY = "Sensitivity to int8, the worst layers first"
_LAYERS = ("Layer", "Signal over noise at the outputs if it alone is int8")


def html(report: Report) -> str:
    """Return the page."""
    headings, rows = report.table()
    title = f"{report.job.name}: {report.job.model}@{report.job.version}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="dim">{escape(_about(report))}</p>',
        drawn(report),
        _html_table(headings, rows),
        f'<p class="dim">{escape(_LEGEND)}</p>',
        _section(
            "Why variants were refused", _html_list([f"{name}: {why}" for name, why in report.refusals()])
        ),
        _section("What each pass did", _html_table(["Pass", "Size", "Speed", "Loss"], report.gains())),
        _section(_SENSITIVITY, _html_table(_LAYERS, report.sensitivity())),
        _section("Parity with the program it was converted from", escape(_parity(report))),
        _section("Measured on", escape(_machine(report))),
        _section("Log", f"<pre>{escape(_log(report))}</pre>" if report.log else ""),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def markdown(report: Report) -> str:
    """Return the report as Markdown."""
    headings, rows = report.table()
    parts = [
        f"# {report.job.name}: {report.job.model}@{report.job.version}",
        _about(report),
        _markdown_table(headings, rows),
        _LEGEND,
    ]
    if refusals := report.refusals():
        parts += ["## Why variants were refused", "\n".join(f"- {name}: {why}" for name, why in refusals)]
    if gains := report.gains():
        parts += ["## What each pass did", _markdown_table(["Pass", "Size", "Speed", "Loss"], gains)]
    if layers := report.sensitivity():
        parts += [f"## {_SENSITIVITY}", _markdown_table(_LAYERS, layers)]
    if parity := _parity(report):
        parts += ["## Parity with the program it was converted from", parity]
    parts += ["## Measured on", _machine(report)]
    return "\n\n".join(parts) + "\n"


def _about(report: Report) -> str:
    job = report.job
    words = [
        job.job.state.lower(),
        job.job.create_time.strftime("%Y-%m-%d %H:%M:%S UTC"),
        f"recipe {recipe}" if (recipe := getattr(job, "recipe", "")) else "",
        f"against {against}" if (against := getattr(job, "baseline", "")) else "",
        f"dataset {job.dataset}"
        if job.dataset
        else "no dataset: metric against the original on generated rows",
    ]
    return " · ".join(word for word in words if word)


def _machine(report: Report) -> str:
    hardware = report.result.hardware
    libraries = ", ".join(f"{name} {version}" for name, version in sorted(report.result.libraries.items()))
    accelerators = ", ".join(hardware.accelerators) or "no accelerator"
    memory = hardware.memory_bytes / 1024**3
    return (
        f"{hardware.processor}, {hardware.processor_count} processors, {memory:.1f} GiB, {accelerators}, "
        f"{hardware.provider}; {libraries}"
    )


def _parity(report: Report) -> str:
    parity = report.parity
    if parity is None:
        return ""
    agreement = (
        f", the same arg-max in {parity.argmax_agreement:.2%} of the rows"
        if parity.argmax_agreement is not None
        else ""
    )
    kind = "generated" if parity.generated else "real"
    return (
        f"{parity.row_count} {kind} rows: at most {parity.max_abs:.3g} apart, {parity.max_rel:.3g} of the largest "
        f"output{agreement}."
    )


def _log(report: Report) -> str:
    return "\n".join(f"{line.time:%H:%M:%S}  {line.text}" for line in report.log)


def _section(heading: str, body: str) -> str:
    return f"<h2>{escape(heading)}</h2>{body}" if body else ""


def _html_list(items: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>" if items else ""


def _html_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{escape(text)}</th>" for text in headings)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(text)}</td>' for text in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(text: str) -> str:
    """Return the text of a cell; the interval of a figure stands below it."""
    figure, bracket, interval = text.partition(" [")
    return (
        f"{escape(figure)}<br><small>{escape(bracket.strip() + interval)}</small>"
        if bracket
        else escape(text)
    )


def _markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(text.replace('|', '/') for text in line)} |" for line in lines)

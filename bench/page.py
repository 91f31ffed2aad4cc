"""Writes a run as Markdown, between two marks of docs/performance.md: `python -m bench.page` does it again."""

from __future__ import annotations

from pathlib import Path

from bench import picture
from bench.goals import GOALS
from bench.results import Run, Spread, p50, p99, processor_us, rate

ROOT = Path(__file__).parents[1]
PAGE, RESULTS = ROOT / "docs" / "performance.md", ROOT / ".cache" / "bench" / "results.json"
BEGIN, END = "<!-- figures: written by make bench -->", "<!-- end of figures -->"


def write(run: Run) -> None:
    """Put the tables of a run in their place on the page, and draw its picture beside it."""
    put(PAGE, BEGIN, END, text(run))
    picture.draw(run, PAGE.with_suffix(".svg"))


def put(page: Path, begin: str, end: str, inside: str) -> None:
    """Replace what stands between two marks of a page."""
    before, _, rest = page.read_text().partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{begin}\n{inside}\n{end}{after}")


def text(run: Run) -> str:
    """Return all tables."""
    parts = [
        f"Measured on {run.day}: {run.machine}. Median (lowest..highest) of {_rounds(run)} alternating rounds.",
        "\n" + "".join(f"- {line}\n" for line in run.versions),
        "### Goals\n",
        goals(run),
        f"\n![Calls per second of each server, by model and calls in flight]({PAGE.stem}.svg)\n",
        "### Throughput and latency\n\nCalls per second, then p50 and p99 in milliseconds.\n",
        _throughput(run),
        "\n### Processor time for one call, µs\n",
        _processor_time(run),
        _cold_starts(run),
        "\n" + "".join(f"- {note}\n" for note in dict.fromkeys(run.notes)),
    ]
    return "\n".join(part for part in parts if part)


def goals(run: Run) -> str:
    """Return the table of the goals."""
    lines = ["| | seen | goal | |", "|---|---|---|---|"]
    for goal in GOALS:
        seen = goal.figure(run)
        verdict = "not measured" if seen is None else "holds" if goal.holds(seen) else "**missed**"
        lines.append(f"| {goal.text} | {_told(seen, goal.digits)} | {goal.wanted} | {verdict} |")
    return "\n".join(lines)


def _rounds(run: Run) -> int:
    return 1 + max(one.number for one in run.rounds)


def _told(seen: Spread | None, digits: int) -> str:
    return "" if seen is None else seen.text(digits)


def _cells(run: Run) -> list[tuple[str, str]]:
    return list(dict.fromkeys((one.request, one.load) for one in run.rounds))


def _targets(run: Run) -> list[str]:
    return list(dict.fromkeys(one.target for one in run.rounds))


def _throughput(run: Run) -> str:
    targets = _targets(run)
    lines = [_row("", "", *targets), "|---" * (len(targets) + 2) + "|"]
    for request, load in _cells(run):
        cells = [_performance(run, request, load, target) for target in targets]
        lines.append(_row(request, load, *cells))
    return "\n".join(lines)


def _performance(run: Run, request: str, load: str, target: str) -> str:
    seen = run.spread(request, load, target, rate)
    if seen is None:
        return ""
    latency, tail = (run.spread(request, load, target, measure) for measure in (p50, p99))
    assert latency is not None
    assert tail is not None
    digits = 0 if seen.median >= 100 else 1
    times = f"; {latency.median:.2f}, {tail.median:.2f}" if latency.median else ""
    return f"{seen.text(digits)}{times}"


def _processor_time(run: Run) -> str:
    lines = [_row("", "", "to", "client", "servers"), "|---" * 5 + "|"]
    for request, load in _cells(run):
        for target in _targets(run):
            rounds = run.of(request, load, target)
            if not rounds or not rounds[0].processor_us:
                continue
            times = {
                name: run.spread(request, load, target, processor_us(name)) for name in rounds[0].processor_us
            }
            client = _told(times.pop("client"), 0)
            servers = "; ".join(f"{name} {_told(seen, 0)}" for name, seen in times.items())
            lines.append(_row(request, load, target, client, servers))
    return "\n".join(lines)


def _cold_starts(run: Run) -> str:
    if not run.cold_starts:
        return ""
    ready = Spread.of(one.ready_s for one in run.cold_starts)
    read = Spread.of(one.read_s for one in run.cold_starts)
    session = Spread.of(one.session_s for one in run.cold_starts)
    return (
        "\n### Cold start of a 200 MB model, seconds\n\n"
        f"`deploy` to READY {_told(ready, 2)}; S3 read {_told(read, 2)}; session creation {_told(session, 2)}."
    )


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    write(Run.read(RESULTS))

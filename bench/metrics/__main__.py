"""Measures the metrics service's intake and store and writes docs/metrics.md: `make bench-metrics`."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import re
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from bench import machine, page
from bench.metrics import storing, taking
from bench.metrics.fleet import Fleet, Size

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
BEGIN, END = "<!-- figures: written by make bench-metrics -->", "<!-- end of figures of the store -->"
MIB = 1 << 20
POINTS_PER_S_MIN, DAY_BYTES_MAX, OVERVIEW_MS_MAX = 30_000, 500_000_000, 200.0


def main() -> None:
    """Print each figure as it is known, then write them to the page."""
    parser = argparse.ArgumentParser(prog="bench.metrics", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long to send as fast as possible")
    parser.add_argument("--hours", type=float, default=24.0, help="how much of a day to store")
    parser.add_argument("--asked", type=int, default=40, help="how many overviews to ask for")
    parser.add_argument(
        "--only", choices=("taking", "day", "week"), help="measure one part, leave the others on the page"
    )
    asked = parser.parse_args()
    lines = asyncio.run(_lines(asked))
    if asked.only:
        lines = merged(PAGE.read_text().partition(BEGIN)[2].partition(END)[0].splitlines(), lines)
    page.put(PAGE, BEGIN, END, "\n".join(lines))


def merged(before: list[str], now: list[str]) -> list[str]:
    """Put new rows in the place of those that begin like them; keep the others."""
    fresh = {_first(line): line for line in now if line.startswith("| ")}
    kept = [
        line for line in before if line.startswith("| ") and line[2:3].isalpha() and _first(line) not in fresh
    ]
    heading = [line for line in now if _first(line) not in fresh or line.startswith("| | ")]
    return [*heading, *kept, *(line for line in fresh.values() if not line.startswith("| | "))]


def _first(line: str) -> str:
    """What a row is about, without its figures."""
    return re.sub(r"[\d,.]+", "", line.split("|")[1]) if line.startswith("| ") else line


async def _lines(asked: argparse.Namespace) -> list[str]:
    size = Size()
    fleet = Fleet(size, storing.BEGIN_S)
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    mesh = f"A made-up mesh of {size.workers} workers with {size.slots} slots each and {size.others} other processes"
    series = f"{fleet.point_count:,} series, {fleet.distribution_count:,} of them distributions"
    lines = [
        f"Measured on {day}: {machine.shape()}. {mesh}: {series}, sent every 5 s in OTLP's messages.",
        "",
        "| | seen | goal | |",
        "|---|---|---|---|",
    ]
    print("\n".join(lines))
    async for line in _figures(asked, size):
        lines.append(line)
        print(line, flush=True)
    return lines


async def _figures(asked: argparse.Namespace, size: Size) -> AsyncIterator[str]:
    if asked.only in (None, "taking"):
        with tempfile.TemporaryDirectory(prefix="servemesh-taking-") as folder:
            seen = await taking.taken(Path(folder), size, asked.seconds)
        rate, what = seen.points_per_s, "points taken over gRPC in a second, the service on one core"
        yield _line(what, f"{rate:,.0f}", "≥ 30,000", rate >= POINTS_PER_S_MIN)
        yield _line("the same by its processor time", f"{seen.points_per_core_s:,.0f}", "", None)
        yield _line(
            "its memory at most, while senders never stop",
            f"{seen.memory_bytes_max / MIB:,.0f} MiB",
            "",
            None,
        )
        yield _line("messages told to come again", f"{seen.shed_count:,}", "", None)
    if asked.only in (None, "day"):
        with tempfile.TemporaryDirectory(prefix="servemesh-day-") as folder:
            size_bytes, count = await storing.day(Path(folder), size, asked.hours)
        what = f"disk for {asked.hours:g} h of it ({count:,} points sent, see bench/metrics/storing.py)"
        yield _line(what, f"{size_bytes / 1e6:,.0f} MB", "≤ 500 MB", size_bytes <= DAY_BYTES_MAX)
    if asked.only in (None, "week"):
        with tempfile.TemporaryDirectory(prefix="servemesh-week-") as folder:
            spent = await storing.week(Path(folder), size, asked.asked)
        p95_ms, what = storing.p95_ms(spent), f"overview of 7 days, p95 of {asked.asked}"
        yield _line(what, f"{p95_ms:.0f} ms", "≤ 200 ms", p95_ms <= OVERVIEW_MS_MAX)


def _line(what: str, seen: str, goal: str, holds: bool | None) -> str:
    verdict = "" if holds is None else "holds" if holds else "**missed**"
    return f"| {what} | {seen} | {goal} | {verdict} |"


if __name__ == "__main__":
    main()

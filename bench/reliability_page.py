"""Writes the figures of the fault tests into docs/reliability.md: the last step of `make reliability`."""

from __future__ import annotations

import datetime
import os
import platform
import sys
from itertools import groupby
from pathlib import Path

from tests.harness.marks import Figure, Marks

PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
BEGIN, END = "<!-- figures: written by make reliability -->", "<!-- end of figures -->"


def main() -> None:
    """Put the figures in the file that the command line names between the two marks of the page."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{_table(Marks.read(Path(sys.argv[1])).figures)}\n{END}{after}")


def _table(figures: list[Figure]) -> str:
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    lines = [
        f"Seen on {day}, {os.cpu_count()} cores ({platform.machine()}), the load and the whole mesh on one machine.",
        "",
        "| check | figure | seen | mark | |",
        "|---|---|---|---|---|",
    ]
    ordered = sorted(figures, key=lambda figure: (figure.check, figure.what))
    for _, same in groupby(ordered, key=lambda figure: (figure.check, figure.what)):
        worst = _worst(list(same))
        verdict = "holds" if worst.holds else "**missed**"
        lines.append(f"| {worst.check} | {worst.what} | {worst.seen} | {worst.wanted} | {verdict} |")
    return "\n".join(lines)


def _worst(figures: list[Figure]) -> Figure:
    if figures[0].at_most is not None:
        return max(figures, key=lambda figure: figure.value)
    return min(figures, key=lambda figure: figure.value)


if __name__ == "__main__":
    main()

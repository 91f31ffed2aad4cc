"""Writes what `make examples` saw into docs/clients.md."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Iterable

from examples.polyglot.languages import EXAMPLES
from examples.polyglot.running import Outcome

PAGE = EXAMPLES.parent / "docs" / "clients.md"
BEGIN, END = "<!-- report: written by make examples -->", "<!-- end of report -->"


def write(outcomes: Iterable[Outcome], lines: list[str]) -> None:
    """Put the report of a whole run between the two marks of the page."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{_report(outcomes, lines)}\n{END}{after}")


def _report(outcomes: Iterable[Outcome], lines: list[str]) -> str:
    day = datetime.date.today().isoformat()
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    rows = [f"| {outcome.language.title} | {outcome.versions} | the same lines |" for outcome in outcomes]
    return "\n".join(
        [
            f"Run on {day}, {system} ({platform.machine()}).",
            "",
            "| language | with | printed |",
            "|---|---|---|",
            *rows,
            "",
            "The lines:",
            "```",
            *lines,
            "```",
        ]
    )

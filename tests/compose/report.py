"""Writes what compose-test saw into its section of docs/compose.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

BEGIN = "<!-- written by make compose-test -->"
END = "<!-- end -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One check that passed."""

    name: str
    saw: str
    took_s: float


def section(rows: Sequence[Row], machine: str, now: datetime) -> str:
    """Return the section's text."""
    lines = [f"{now:%Y-%m-%d %H:%M} UTC, {machine}.", "", "| check | seconds | seen |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {row.name} | {row.took_s:.0f} | {row.saw} |" for row in rows)])


def replaced(page: str, text: str) -> str:
    """Return the page with another text in its section; ValueError if it has none."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the page has no section from {BEGIN} to {END}")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def written(path: Path, rows: Sequence[Row], machine: str, now: datetime) -> None:
    """Replace the section of the page."""
    path.write_text(replaced(path.read_text(), section(rows, machine, now)))

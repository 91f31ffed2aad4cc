"""What fault tests have seen beside what is to be seen: kept for the table at the end and for docs/reliability.md."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of one check. `check` is its number, R01 for instance; `unit` may be empty."""

    check: str
    what: str
    value: float
    unit: str
    at_most: float | None
    at_least: float | None

    @property
    def holds(self) -> bool:
        """Whether the figure is where it must be."""
        low = self.at_least is not None and self.value < self.at_least
        high = self.at_most is not None and self.value > self.at_most
        return not (low or high)

    @property
    def wanted(self) -> str:
        """Where it must be, as text."""
        if self.at_most is not None:
            return f"≤ {self.at_most:g} {self.unit}".rstrip()
        return f"≥ {self.at_least:g} {self.unit}".rstrip()

    @property
    def seen(self) -> str:
        """The value, as text."""
        return (
            f"{self.value:.3g} {self.unit}".rstrip()
            if self.value < 1000
            else f"{self.value:,.0f} {self.unit}".rstrip()
        )

    def __str__(self) -> str:
        return f"{self.check}  {self.what}: {self.seen} ({self.wanted}){'' if self.holds else '  MISSED'}"


class Marks:
    """Takes the figures of a run."""

    def __init__(self) -> None:
        self.figures: list[Figure] = []

    def must(
        self,
        check: str,
        what: str,
        value: float,
        *,
        unit: str = "",
        at_most: float | None = None,
        at_least: float | None = None,
    ) -> None:
        """Keep a figure that does not depend on how busy the machine is; AssertionError if it misses its mark."""
        figure = self.told(check, what, value, unit=unit, at_most=at_most, at_least=at_least)
        assert figure.holds, str(figure)

    def told(
        self,
        check: str,
        what: str,
        value: float,
        *,
        unit: str = "",
        at_most: float | None = None,
        at_least: float | None = None,
    ) -> Figure:
        """Keep a figure that does, a time for instance: a miss is told, and does not fail the test."""
        figure = Figure(check=check, what=what, value=value, unit=unit, at_most=at_most, at_least=at_least)
        self.figures.append(figure)
        print(figure)
        return figure

    def save(self, path: Path) -> None:
        """Write the figures as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([asdict(figure) for figure in self.figures], indent=1))

    @classmethod
    def read(cls, path: Path) -> Marks:
        """Return what `save` has written."""
        marks = cls()
        marks.figures = [Figure(**figure) for figure in json.loads(path.read_text())]
        return marks

"""The rounds of a run, kept as a file, and the ratios between targets with their spread."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.cold import ColdStart
from bench.rounds import Round

Measure = Callable[[Round], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The median of several rounds, with the lowest and the highest."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """Return the spread of values, or None if there are none."""
        found = list(values)
        if not found:
            return None
        return cls(median=statistics.median(found), lowest=min(found), highest=max(found))

    def text(self, digits: int) -> str:
        """Return "median (lowest..highest)"."""
        return f"{self.median:,.{digits}f} ({self.lowest:,.{digits}f}..{self.highest:,.{digits}f})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the benchmark."""

    day: str
    machine: str
    versions: Sequence[str]
    rounds: Sequence[Round]
    cold_starts: Sequence[ColdStart] = ()
    notes: Sequence[str] = field(default=())

    def of(self, request: str, load: str, target: str) -> list[Round]:
        """Return the rounds of one target under one load, in order."""
        wanted = (request, load, target)
        return [one for one in self.rounds if (one.request, one.load, one.target) == wanted]

    def spread(self, request: str, load: str, target: str, measure: Measure) -> Spread | None:
        """Return what a target did."""
        return Spread.of(measure(one) for one in self.of(request, load, target))

    def paired(
        self, request: str, load: str, targets: tuple[str, str], of_two: Callable[[Round, Round], float]
    ) -> Spread | None:
        """Return what compares two targets, round by round: only what ran side by side is compared."""
        seconds = {one.number: one for one in self.of(request, load, targets[1])}
        pairs = [
            (one, seconds[one.number]) for one in self.of(request, load, targets[0]) if one.number in seconds
        ]
        return Spread.of(of_two(first, second) for first, second in pairs)

    def ratio(self, request: str, load: str, targets: tuple[str, str], measure: Measure) -> Spread | None:
        """Return the first target's measure over the second's."""
        return self.paired(request, load, targets, lambda first, second: measure(first) / measure(second))

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, path: Path) -> Run:
        """Return what `save` has written."""
        found = json.loads(path.read_text())
        found["rounds"] = [Round(**one) for one in found["rounds"]]
        found["cold_starts"] = [ColdStart(**one) for one in found["cold_starts"]]
        return cls(**found)


def rate(one: Round) -> float:
    """Calls in a second."""
    return one.calls_per_s


def p50(one: Round) -> float:
    """Median latency in ms."""
    return one.latency_ms_p50


def p99(one: Round) -> float:
    """99th percentile of the latency in ms."""
    return one.latency_ms_p99


def processor_us(process: str) -> Measure:
    """Return the measure of a process's time for one call."""
    return lambda one: one.processor_us[process]

"""Which roll-ups answer a query: as few rows as possible, nothing twice, nothing left out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

from servemesh.metrics.domain.queries import Window

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
RAW_STEPS_S = 3_600  # windows up to this length are answered to the millisecond


class Resolution(IntEnum):
    """How finely points are kept, in milliseconds."""

    RAW = 1
    MINUTE = MINUTE_MS
    HOUR = HOUR_MS


@dataclass(frozen=True, slots=True)
class Segment:
    """A span of time in milliseconds, its end excluded, that rows of one resolution (and finer) cover."""

    resolution: Resolution
    begin_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Since when each resolution is complete, in milliseconds since 1970."""

    raw_ms: int = 0
    minute_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The steps of an answer and where to read them from. The last step ends at `end_ms`, maybe early."""

    begin_ms: int
    end_ms: int
    step_ms: int
    segments: tuple[Segment, ...]

    @property
    def step_count(self) -> int:
        """How many steps there are."""
        return -(-(self.end_ms - self.begin_ms) // self.step_ms)

    def span_s(self, step: int) -> float:
        """Return how long a step lasts; the last one may be cut short."""
        begin = self.begin_ms + step * self.step_ms
        return (min(begin + self.step_ms, self.end_ms) - begin) / 1000


def planned(window: Window, step_s: float, held: Held) -> Plan:
    """Plan a query.

    A single step is covered exactly: hours inside, minutes and points at its ends. Several steps are all read at
    one resolution, to which their begin is rounded down and their length up: hours for steps of an hour, minutes
    for steps of a minute in windows of more than an hour or where points are not kept any more.
    """
    begin, end, step = _ms(window.begin_s), _ms(window.end_s), max(1, _ms(step_s))
    if step >= end - begin:
        return Plan(begin_ms=begin, end_ms=end, step_ms=step, segments=covering(begin, end, held))
    unit = _unit(begin, end, step, held)
    begin, step = begin // unit * unit, -(-step // unit) * unit
    return Plan(begin_ms=begin, end_ms=end, step_ms=step, segments=(Segment(unit, begin, end),))


def covering(begin_ms: int, end_ms: int, held: Held) -> tuple[Segment, ...]:
    """Cover a span with hours, and its ends with what is finer as far as it is held."""
    hours = _inside(begin_ms, end_ms, HOUR_MS)
    segments: list[Segment] = []
    for begin, end in _outside(begin_ms, end_ms, hours):
        minutes = _inside(begin, end, MINUTE_MS)
        for low, high in _outside(begin, end, minutes):
            segments.append(Segment(_finest(low, held), low, high))
        if minutes:
            segments.append(Segment(max(Resolution.MINUTE, _finest(minutes[0], held)), *minutes))
    if hours:
        segments.append(Segment(Resolution.HOUR, *hours))
    return tuple(segments)


def _ms(time_s: float) -> int:
    return round(time_s * 1000)


def _finest(begin_ms: int, held: Held) -> Resolution:
    if begin_ms >= held.raw_ms:
        return Resolution.RAW
    return Resolution.MINUTE if begin_ms >= held.minute_ms else Resolution.HOUR


def _unit(begin: int, end: int, step: int, held: Held) -> Resolution:
    if step >= HOUR_MS or begin < held.minute_ms:
        return Resolution.HOUR
    if begin < held.raw_ms or (step >= MINUTE_MS and end - begin > RAW_STEPS_S * 1000):
        return Resolution.MINUTE
    return Resolution.RAW


def _inside(begin: int, end: int, unit: int) -> tuple[int, int] | None:
    """Return the part of a span that whole units cover."""
    first, last = math.ceil(begin / unit) * unit, end // unit * unit
    return (first, last) if first < last else None


def _outside(begin: int, end: int, inside: tuple[int, int] | None) -> list[tuple[int, int]]:
    """Return what is left of a span at its ends."""
    if inside is None:
        return [(begin, end)] if begin < end else []
    return [(low, high) for low, high in ((begin, inside[0]), (inside[1], end)) if low < high]

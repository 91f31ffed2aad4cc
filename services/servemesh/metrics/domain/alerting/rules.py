"""Rules that alerts are made by: what is measured, when it is too much, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from servemesh.metrics.domain.queries import Measure, Query, Window


class Severity(StrEnum):
    """How urgent an alert is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Shows(StrEnum):
    """How a value is written for people."""

    NUMBER = "number"
    SECONDS = "seconds"
    PERCENT = "percent"
    BYTES = "bytes"
    TIMES = "times"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One measure of one metric over the last `window_s`."""

    metric: str
    measure: Measure
    window_s: float
    quantile: float = 0.5
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def query(
        self, by: tuple[str, ...], now_s: float, *, window_s: float = 0.0, step_s: float = 0.0
    ) -> Query:
        """Return what to ask: one step as long as the window, unless `window_s` and `step_s` say otherwise."""
        window_s = window_s or self.window_s
        return Query(
            metric=self.metric,
            measure=self.measure,
            window=Window(begin_s=now_s - window_s, end_s=now_s),
            step_s=step_s or window_s,
            filters=self.where,
            group_by=by,
            quantile=self.quantile,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """Holds while signal, or signal ÷ divisor, lies beyond `limit`; it is over once it is back behind `until`.

    Nothing is said of a subject for which `count` is less than `count_min`.
    """

    signal: Signal
    divisor: Signal | None
    is_above: bool
    limit: float
    until: float
    count: Signal | None = None
    count_min: float = 0.0

    @property
    def kind(self) -> str:
        """Its name in the files."""
        return "threshold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """Holds for a subject that was measured within `lookback_s`, but not within the signal's window.

    One that left on purpose is not missed: `unless` are kinds of annotations about `resource` that excuse it.
    """

    signal: Signal
    lookback_s: float
    resource: str
    unless: tuple[str, ...]

    @property
    def kind(self) -> str:
        """Its name in the files."""
        return "absence"


@dataclass(frozen=True, slots=True, kw_only=True)
class BurnWindow:
    """Holds while the budget burns `factor` times as fast as allowed, over the long window and the short one."""

    long_s: float
    short_s: float
    factor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BurnRate:
    """Holds while one of the windows does: bad ÷ all, divided by the share of 1 - objective that may be bad.

    Long windows tell that it matters, short ones that it still goes on (Google, The Site Reliability Workbook,
    chapter 5, "Multiwindow, Multi-Burn-Rate Alerts"). Nothing is said of fewer than `count_min` events.
    """

    bad: Signal
    all: Signal
    objective: float
    windows: tuple[BurnWindow, ...]
    count_min: float

    @property
    def kind(self) -> str:
        """Its name in the files."""
        return "burn_rate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """Holds while the straight line through signal ÷ divisor of the last `history_s` reaches `limit` in `within_s`.

    Less than `at_least` is not worth a word, however it grows.
    """

    signal: Signal
    divisor: Signal | None
    history_s: float
    limit: float
    at_least: float
    within_s: float

    @property
    def kind(self) -> str:
        """Its name in the files."""
        return "forecast"


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityForecast:
    """Holds for a model whose demand is expected to exceed what the workers can do in `within_s`."""

    within_s: float

    @property
    def kind(self) -> str:
        """Its name in the files."""
        return "forecast"


Condition = Threshold | Absence | BurnRate | Trend | CapacityForecast


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. Its alerts have the labels of `by`; those alike in the labels of `group_by` are delivered together."""

    rule_id: str
    summary: str
    text: str
    severity: Severity
    runbook: str
    by: tuple[str, ...]
    group_by: tuple[str, ...]
    condition: Condition
    for_s: float
    """How long it must hold before it fires."""
    keep_s: float
    """How long it must be over before it is resolved."""
    forget_s: float
    """A subject that was not measured for so long is let go."""
    shows: Shows

"""What a report says: the same figures for every form of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servemesh.metrics.domain.alerting.alerts import Alert
from servemesh.metrics.domain.figures import Figures
from servemesh.metrics.domain.queries import Annotation
from servemesh.metrics.domain.reporting.reports import Order

STEPS = 96
"""Steps that charts are divided into, about."""
LINES_MAX = 8
"""Lines of one chart; the largest are drawn."""
_STEPS_S = (1, 5, 10, 15, 30, 60, 300, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200, 86_400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One measure over the window, a line for each subject."""

    begin_s: float
    step_s: float
    lines: Mapping[str, NDArray[np.float64]]

    def largest(self) -> Course:
        """Keep the lines with the greatest sums, so many as a chart can show, in the order of their names."""
        by_size = sorted(self.lines, key=lambda name: -float(np.nansum(self.lines[name])))
        kept = sorted(by_size[:LINES_MAX])
        lines = {name: self.lines[name] for name in kept}
        return Course(begin_s=self.begin_s, step_s=self.step_s, lines=lines)

    @property
    def peak(self) -> float:
        """The greatest value of the sum over the lines; NaN if there is none."""
        if not self.lines:
            return math.nan
        total = np.nansum(np.stack(list(self.lines.values())), axis=0)
        return float(total.max()) if total.size else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Calls that failed in the same way, when that began, and what it most likely came from."""

    model: str
    where: str
    what: str
    count: float
    began_s: float | None
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What is expected of the demand for a model, in rows per second, with the error of the backtest."""

    model: str
    method: str
    begin_s: float
    step_s: float
    expected: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    backtest_error: float
    naive_error: float
    capacity: float = math.nan
    """Rows per second that the workers there are can do."""
    exceeded_s: float | None = None

    @property
    def peak(self) -> tuple[float, float]:
        """When most is expected, and how much."""
        place = int(np.nanargmax(np.asarray(self.expected)))
        return self.begin_s + place * self.step_s, self.expected[place]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Everything that a report says. A course that nothing was measured for has no lines."""

    order: Order
    create_s: float
    mesh: Figures
    models: Sequence[Figures]
    workers: Sequence[Figures]
    courses: Mapping[str, Course]
    """By name: rate, errors, p50, p99, busy, cpu, memory, disk, gpu."""
    troubles: Sequence[Trouble]
    alerts: Sequence[Alert]
    changes: Sequence[Annotation]
    outlooks: Sequence[Outlook]
    without_outlook: Mapping[str, str]
    """Models that nothing can be expected for, and why."""

    @property
    def subject(self) -> str:
        """What the report is about, in words."""
        return f"model {self.order.model}" if self.order.model else "the mesh"


def step_s(window_s: float) -> float:
    """Return the length of the steps of a window: a round one, so that there are about STEPS."""
    return float(
        next((step for step in _STEPS_S if window_s / step <= 1.5 * STEPS), math.ceil(window_s / STEPS))
    )


def availability(figures: Figures) -> float:
    """Return the share of calls that the mesh did not fail; NaN without calls."""
    return 1 - figures.error_ratio


def cost(figures: Figures) -> float:
    """Return what all calls of the window cost together; NaN without prices."""
    return figures.cost_per_1000 * figures.call_count / 1000

"""Keeps the number of series bounded: past a limit, points go to a series whose labels are all `other`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from servemesh.metrics.domain.points import Labels, Series
from servemesh.metrics.domain.queries import Kind

OTHER = "other"
SERVICE, INSTANCE = "service", "instance"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesLimits:
    """How many series there may be; the `other` of each metric comes on top."""

    series_max: int = 50_000
    metric_series_max: int = 5_000
    metrics_max: int = 2_000
    label_chars_max: int = 128
    labels_kept: frozenset[str] = frozenset()


@dataclass(slots=True)
class Roster:
    """The series that points may be stored under."""

    limits: SeriesLimits
    _known: dict[Series, Series] = field(default_factory=dict)
    _by_metric: Counter[str] = field(default_factory=Counter)
    _meanings: dict[str, tuple[Kind, str]] = field(default_factory=dict)
    _others: dict[str, Series] = field(default_factory=dict)
    folded_count: int = 0
    labels_dropped_count: int = 0

    def __len__(self) -> int:
        return len(self._known)

    def load(self, known: Iterable[Series]) -> None:
        """Start from what the store knows."""
        self._known = {series: series for series in known}
        self._by_metric = Counter(series.metric for series in self._known)
        self._meanings = {series.metric: (series.kind, series.unit) for series in self._known}
        self._others = {series.metric: series for series in self._known if _is_other(series)}

    def forget(self, forgotten: Iterable[Series]) -> None:
        """Make room for others."""
        for series in forgotten:
            if series in self._known:
                del self._known[series]
                self._by_metric[series.metric] -= 1
                if not self._by_metric[series.metric]:
                    del self._by_metric[series.metric]
                    del self._meanings[series.metric]
                if self._others.get(series.metric) == series:
                    del self._others[series.metric]

    def means(self, asked: Series) -> bool:
        """Whether the metric is not known yet, or is known with this kind and unit."""
        return self._meanings.get(asked.metric, (asked.kind, asked.unit)) == (asked.kind, asked.unit)

    def series_of(self, asked: Series) -> Series | None:
        """Return the series to store under: the one asked for while there is room, else the metric's `other`.

        None if there are too many metrics for even that.
        """
        if asked in self._known or self._has_room(asked.metric):
            return self._kept(asked)
        self.folded_count += 1
        if self._by_metric[asked.metric] or len(self._by_metric) < self.limits.metrics_max:
            return self._kept(self._others.setdefault(asked.metric, folded(asked)))
        return None

    def labels(self, source: Labels, attributes: Labels) -> Labels:
        """Choose the labels that are kept; what a sender says of itself goes before what a point says."""
        kept: dict[str, str] = {}
        for label, value in (*attributes, *source):
            if label in self.limits.labels_kept:
                kept[label] = value[: self.limits.label_chars_max]
            else:
                self.labels_dropped_count += 1
        return tuple(sorted(kept.items()))

    def _has_room(self, metric: str) -> bool:
        limits, count = self.limits, self._by_metric[metric] - (metric in self._others)
        if not count and len(self._by_metric) >= limits.metrics_max:
            return False
        return len(self._known) - len(self._others) < limits.series_max and count < limits.metric_series_max

    def _kept(self, series: Series) -> Series:
        known = self._known.get(series)
        if known is not None:
            return known  # one object for all that are equal
        self._known[series] = series
        self._by_metric[series.metric] += 1
        self._meanings.setdefault(series.metric, (series.kind, series.unit))
        return series


def _is_other(series: Series) -> bool:
    return bool(series.labels) and all(value == OTHER for _, value in series.labels)


def folded(series: Series) -> Series:
    """Return the series that takes the points for which there is no room; of whom they come stays known no more."""
    labels = tuple((label, OTHER) for label, _ in series.labels)
    return Series(series.metric, series.kind, series.unit, labels)

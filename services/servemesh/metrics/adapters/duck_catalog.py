"""The series that the store knows, by number, for readers and the writer alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import numpy as np
import orjson
from numpy.typing import NDArray

from servemesh.metrics.domain.points import Series
from servemesh.metrics.domain.queries import Kind, MetricInfo

BLOCK = 1 << 32
"""Numbers that each metric has for its series."""


@dataclass(frozen=True, slots=True)
class Picked:
    """The series that a query looks at, and which of its groups each belongs to."""

    series: NDArray[np.int64]
    groups: NDArray[np.int32]
    labels: tuple[Mapping[str, str], ...]


@dataclass(slots=True)
class Catalog:
    """Numbers of series. Only the writer adds; readers see what was added before they looked."""

    _numbers: dict[Series, int] = field(default_factory=dict)
    _by_metric: dict[str, dict[Series, int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._numbers)

    def load(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Read what an earlier start knew."""
        rows = connection.execute("SELECT id, metric, kind, unit, labels FROM series").fetchall()
        self.add(
            (Series(metric, Kind(kind), unit, tuple(map(tuple, orjson.loads(labels)))), number)
            for number, metric, kind, unit, labels in rows
        )

    def number(self, series: Series) -> int | None:
        """Return the number of a series that is known."""
        return self._numbers.get(series)

    def allotted(self, new: Iterable[Series]) -> dict[Series, int]:
        """Choose numbers for series that are not known. Those of one metric are neighbours: rows in order of their
        series are in order of their metric too, and a query passes over those of others.
        """
        chosen: dict[Series, int] = {}
        nexts: dict[str, int] = {}
        blocks = {metric: min(known.values()) // BLOCK for metric, known in self._by_metric.items()}
        for series in new:
            metric = series.metric
            if metric not in nexts:
                block = blocks.get(metric)
                if block is None:
                    block = blocks[metric] = max(blocks.values(), default=-1) + 1
                nexts[metric] = max(self._by_metric.get(metric, {}).values(), default=block * BLOCK - 1) + 1
            chosen[series] = nexts[metric]
            nexts[metric] += 1
        return chosen

    def series(self) -> tuple[Series, ...]:
        """Return all of them."""
        return tuple(self._numbers)

    def add(self, known: Iterable[tuple[Series, int]]) -> None:
        """Make series known."""
        added: dict[str, dict[Series, int]] = {}
        for series, number in known:
            self._numbers[series] = number
            added.setdefault(series.metric, {})[series] = number
        for metric, more in added.items():  # replaced, not changed: a reader may be going through it
            self._by_metric = {**self._by_metric, metric: {**self._by_metric.get(metric, {}), **more}}

    def forget(self, numbers: Iterable[int]) -> tuple[Series, ...]:
        """Forget series, and return them."""
        gone = set(numbers)
        forgotten = tuple(series for series, number in self._numbers.items() if number in gone)
        for series in forgotten:
            del self._numbers[series]
        left = {metric: set(known) - set(forgotten) for metric, known in self._by_metric.items()}
        self._by_metric = {
            metric: {series: number for series, number in self._by_metric[metric].items() if series in kept}
            for metric, kept in left.items()
            if kept
        }
        return forgotten

    def of_metric(self, metric: str) -> Mapping[Series, int]:
        """Return the series of one metric."""
        return self._by_metric.get(metric, {})

    def metrics(self) -> tuple[MetricInfo, ...]:
        """Return what there is, by name."""
        known = self._by_metric
        return tuple(_info(name, tuple(known[name])) for name in sorted(known))


def columns(added: Mapping[Series, int]) -> list[list[Any]]:
    """Return what table `series` keeps of new series, column by column."""
    return [
        list(added.values()),
        [series.metric for series in added],
        [series.kind.value for series in added],
        [series.unit for series in added],
        [orjson.dumps(series.labels).decode() for series in added],
    ]


def picked(
    known: Mapping[Series, int], filters: Mapping[str, tuple[str, ...]], group_by: Sequence[str]
) -> Picked:
    """Choose the series that match all filters and put them into groups, in order of their labels."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for series, number in known.items():
        labels = dict(series.labels)
        if all(labels.get(label, "") in values for label, values in filters.items()):
            groups.setdefault(tuple(labels.get(label, "") for label in group_by), []).append(number)
    ordered = sorted(groups)
    counts = [len(groups[group]) for group in ordered]
    return Picked(
        np.array([number for group in ordered for number in groups[group]], np.int64),
        np.repeat(np.arange(len(ordered), dtype=np.int32), counts),
        tuple(dict(zip(group_by, group, strict=True)) for group in ordered),
    )


def _info(name: str, series: Sequence[Series]) -> MetricInfo:
    return MetricInfo(
        name=name,
        kind=series[0].kind,
        unit=series[0].unit,
        labels=tuple(sorted({label for one in series for label, _ in one.labels})),
        series_count=len(series),
    )

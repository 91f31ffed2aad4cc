"""The whole mesh as Prometheus text, made of what came over OTLP."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Iterator, Sequence

from servemesh.lifecycle import Clock
from servemesh.metrics.domain.points import Labels, Point, Series
from servemesh.metrics.domain.queries import Kind
from servemesh.metrics.domain.totals import Total, Totals, up_to
from servemesh.metrics.service.ingesting import Appender
from servemesh.observe import names

STALE_S = 300.0  # as long as Prometheus itself believes in a series that it sees no more
UNITS = {"s": "seconds", "By": "bytes", "W": "watts", "Cel": "celsius"}
_POWERS = {"s": range(-13, 7), "By": range(6, 37, 3)}
_POWERS_OF_NUMBERS = range(14)
_TYPES = {Kind.COUNTER: "counter", Kind.HISTOGRAM: "histogram"}
_STRANGE = re.compile(r"[^a-zA-Z0-9_]")
_HELP = {metric.name: metric.help for metric in vars(names).values() if isinstance(metric, names.Metric)}


class PrometheusPage:
    """Takes points as the store does, and shows their sums; any thread may ask for the page."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._totals = Totals()

    def take(self, points: Sequence[Point]) -> None:
        """Add points."""
        with self._lock:
            self._totals.take(points)

    def text(self) -> bytes:
        """Return the page."""
        since_ms = round((self._clock.now().timestamp() - STALE_S) * 1000)
        with self._lock:
            families = self._totals.families(since_ms)
            shown: set[str] = set()
            lines: list[str] = []
            for (metric, kind, unit), series in families.items():
                name = name_of(metric, unit, kind)
                if name not in shown:  # two senders may call different things alike
                    shown.add(name)
                    lines += _family(name, metric, kind, unit, series)
        return ("\n".join(lines) + "\n").encode() if lines else b""


class ShownStore:
    """A store whose points are shown on the page too, once they are stored."""

    def __init__(self, store: Appender, page: PrometheusPage) -> None:
        self._store = store
        self._page = page

    async def append(self, points: Sequence[Point]) -> None:
        """Store points, then show them."""
        await self._store.append(points)
        self._page.take(points)


def name_of(metric: str, unit: str, kind: Kind) -> str:
    """Return the name that Prometheus sees."""
    name = _STRANGE.sub("_", metric)
    suffix = UNITS.get(unit, "")
    if suffix and not name.endswith(suffix):
        name += f"_{suffix}"
    if kind is Kind.COUNTER and not name.endswith("_total"):
        name += "_total"
    return name if not name[:1].isdigit() else f"_{name}"


def _family(
    name: str, metric: str, kind: Kind, unit: str, series: Sequence[tuple[Series, Total]]
) -> Iterator[str]:
    yield f"# HELP {name} {_HELP.get(metric, 'As its sender names it.')}"
    yield f"# TYPE {name} {_TYPES.get(kind, 'gauge')}"
    for one, total in series:
        if kind is Kind.HISTOGRAM:
            yield from _histogram(name, one.labels, unit, total)
        else:
            yield f"{name}{_labels(one.labels)} {_number(total.number)}"


def _histogram(name: str, labels: Labels, unit: str, total: Total) -> Iterator[str]:
    distribution = total.distribution
    for power in _POWERS.get(unit, _POWERS_OF_NUMBERS):
        within = (*labels, ("le", _number(2.0**power)))
        yield f"{name}_bucket{_labels(within)} {up_to(distribution, power)}"
    yield f"{name}_bucket{_labels((*labels, ('le', '+Inf')))} {distribution.count}"
    yield f"{name}_sum{_labels(labels)} {_number(distribution.sum)}"
    yield f"{name}_count{_labels(labels)} {distribution.count}"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{_STRANGE.sub("_", key)}="{_escaped(value)}"' for key, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)

"""Applies the store's rules to what senders say: times, temporality, labels, the bound on series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from servemesh.exponential import ExponentialHistogram
from servemesh.metrics.domain.cardinality import Roster
from servemesh.metrics.domain.points import Labels, Point, Series
from servemesh.metrics.domain.samples import KIND_OF, Drop, Explicit, Sample, Shape, Source
from servemesh.metrics.domain.temporality import Bounds, Stream, Value, mistimed, taken

StreamKey = tuple[Shape, Labels]


@dataclass(slots=True)
class Digest:
    """What became of a request: points to store, and how many were dropped why."""

    points: list[Point] = field(default_factory=list)
    drops: Counter[Drop] = field(default_factory=Counter)


class Census(NamedTuple):
    """How much there is of what is bounded, and what the bounds cost so far."""

    streams: int
    series: int
    series_max: int
    folded: int
    labels_dropped: int


class Digestion:
    """Remembers the streams that it has seen. Not for several threads."""

    def __init__(
        self, roster: Roster, bounds: Bounds, *, streams_max: int, scale_max: int, watched_ms: int
    ) -> None:
        self._roster = roster
        self._bounds = bounds
        self._streams_max = streams_max
        self._scale_max = scale_max
        self._watched_ms = watched_ms
        self._streams: dict[Source, dict[StreamKey, Stream]] = {}
        self._stream_count = 0

    @property
    def census(self) -> Census:
        """How many streams and series there are, and what had to be left out."""
        roster = self._roster
        return Census(
            self._stream_count,
            len(roster),
            roster.limits.series_max,
            roster.folded_count,
            roster.labels_dropped_count,
        )

    def digested(self, samples: Iterable[Sample], now_ms: int) -> Digest:
        """Digest samples in their order."""
        digest = Digest()
        source: Source | None = None
        streams: dict[StreamKey, Stream] = {}
        for sample in samples:
            if sample.source is not source:  # looked up once for all its points
                source = sample.source
                streams = self._streams.setdefault(source, {})
            got = self._taken(sample, streams, now_ms)
            if isinstance(got, Drop):
                digest.drops[got] += 1
            else:
                digest.points.append(got)
        return digest

    def forget(self, before_ms: int) -> None:
        """Forget streams that have been silent since."""
        for source, streams in list(self._streams.items()):
            silent = [key for key, stream in streams.items() if stream.last_ms < before_ms]
            for key in silent:
                del streams[key]
            self._stream_count -= len(silent)
            if not streams:
                del self._streams[source]

    def forget_series(self, forgotten: Iterable[Series]) -> None:
        """Make room for others, unless points of them came meanwhile."""
        alive = {stream.series for streams in self._streams.values() for stream in streams.values()}
        self._roster.forget(series for series in forgotten if series not in alive)

    def _taken(self, sample: Sample, streams: dict[StreamKey, Stream], now_ms: int) -> Point | Drop:
        value = sample.value
        if isinstance(value, Drop):
            return value
        wrong = mistimed(sample.time_ms, now_ms, self._bounds)
        if wrong is not None:
            return wrong
        key = (sample.shape, sample.attributes)
        stream = streams.get(key)
        if stream is None:
            opened = self._opened(sample)
            if isinstance(opened, Drop):
                return opened
            stream = streams[key] = opened
            self._stream_count += 1
        got = taken(stream, sample.start_ms, sample.time_ms, value, self._watched_ms)
        return got if isinstance(got, Drop) else Point(stream.series, sample.time_ms, self._kept(got))

    def _opened(self, sample: Sample) -> Stream | Drop:
        if self._stream_count >= self._streams_max:
            return Drop.STREAMS
        shape = sample.shape
        labels = self._roster.labels(sample.source.labels, sample.attributes)
        asked = Series(shape.name, KIND_OF[shape.flow], shape.unit, labels)
        if not self._roster.means(asked):
            return Drop.CONFLICT
        series = self._roster.series_of(asked)
        return Drop.STREAMS if series is None else Stream(series, shape.flow)

    def _kept(self, value: Value) -> float | ExponentialHistogram:
        if isinstance(value, float):
            return value
        histogram = value.exponential() if isinstance(value, Explicit) else value
        return histogram.at_scale(self._scale_max)

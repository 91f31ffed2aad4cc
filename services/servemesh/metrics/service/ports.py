"""What the use cases of the metrics service need of the outside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from servemesh.exponential import ExponentialHistogram
from servemesh.metrics.domain.queries import Annotation, Answer, MetricInfo, Query, Window


class Readings(Protocol):
    """What was measured. Reads see whole flushes and never wait for the writer."""

    async def query(self, query: Query) -> Answer:
        """Answer a query; a metric that is not known has no tracks. Raises OverloadedError past its bounds."""
        ...

    async def distributions(self, query: Query) -> tuple[tuple[Mapping[str, str], ExponentialHistogram], ...]:
        """Return the observations of the whole window, merged, for each combination of the labels of `group_by`."""
        ...

    async def metrics(self) -> tuple[MetricInfo, ...]:
        """Return what the store holds, by name."""
        ...

    async def annotations(
        self, window: Window, *, resource: str = "", count_max: int = 100
    ) -> tuple[Annotation, ...]:
        """Return what changed, newest first; `resource` keeps those of it and of what is below it."""
        ...


class Notes(Protocol):
    """Takes annotations."""

    async def annotate(self, annotation: Annotation) -> None:
        """Keep it; it survives a crash once this returns. The same id again does nothing."""
        ...

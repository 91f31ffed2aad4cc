"""The store of measurements: one DuckDB file, one writer, readers beside it in threads of their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import duckdb

from servemesh.errors import OverloadedError, UnavailableError
from servemesh.exponential import ExponentialHistogram
from servemesh.metrics.adapters import (
    duck_parquet,
    duck_reads,
    duck_retention,
    duck_schema,
    duck_spans,
    duck_writes,
)
from servemesh.metrics.adapters.duck_catalog import Catalog
from servemesh.metrics.adapters.duck_frontier import FAR_MS, Frontier, Reach
from servemesh.metrics.domain.coverage import Held, Resolution
from servemesh.metrics.domain.points import Point, Series
from servemesh.metrics.domain.queries import Annotation, Answer, MetricInfo, Query, Window
from servemesh.metrics.domain.retention import Retained, Retention
from servemesh.metrics.domain.spans import Order, Span
from servemesh.observe import metrics, names

Result = TypeVar("Result")
IN_MEMORY = ":memory:"
TRACE_SPANS_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """What the store may take."""

    memory_bytes_max: int = 1 << 29
    spill_bytes_max: int = 1 << 30
    """Disk for what does not fit into memory while a query is answered."""
    threads_max: int = 2
    readers_max: int = 4
    reads_waiting_max: int = 64
    values_max: int = 1_000_000


class DuckStore:
    """Implements Readings and Notes. All that changes goes through the one thread that writes."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        writer: ThreadPoolExecutor,
        readers: ThreadPoolExecutor,
        settings: StoreSettings,
    ) -> None:
        self._connection = connection
        self._writer = writer
        self._readers = readers
        self._settings = settings
        self._catalog = Catalog()
        self._held = Held()
        self._frontier = Frontier()
        self._seq = 0
        self._reads = 0

    @staticmethod
    @asynccontextmanager
    async def opened(path: Path | str, settings: StoreSettings | None = None) -> AsyncIterator[DuckStore]:
        """Open the file, or make it; ":memory:" is forgotten at the end of the block."""
        settings = settings or StoreSettings()
        with (
            ThreadPoolExecutor(1, "store-writer") as writer,
            ThreadPoolExecutor(settings.readers_max, "store-reader") as readers,
        ):
            loop = asyncio.get_running_loop()
            connection = await loop.run_in_executor(writer, _connected, str(path), settings)
            try:
                store = DuckStore(connection, writer, readers, settings)
                await store._write(store._load)
                yield store
            finally:
                await loop.run_in_executor(writer, connection.close)

    async def append(self, points: Sequence[Point]) -> None:
        """Store points; they are on disk and can be read once this returns."""
        await self._write(self._append, points)

    async def roll_up(self, now_ms: int) -> None:
        """Bring what is complete into roll-ups."""
        await self._write(self._roll_up, now_ms, work="roll_up")

    async def retain(self, now_ms: int, retention: Retention) -> Retained:
        """Delete what is too old or too much; return what the size forced, and the size now."""
        return await self._write(self._retain, now_ms, retention, work="retain")

    async def forget_series(self) -> tuple[Series, ...]:
        """Forget the series of which there are no points any more, and return them."""
        return await self._write(self._forget_series, work="retain")

    async def append_spans(self, spans: Sequence[Span]) -> None:
        """Store spans."""
        await self._write(duck_spans.append, self._connection, spans)

    async def trim_spans(self, before_ms: int, count_max: int) -> None:
        """Delete spans that began earlier, and the oldest of those that are too many."""
        await self._write(duck_spans.trim, self._connection, before_ms, count_max, work="retain")

    async def annotate(self, annotation: Annotation) -> None:
        """Keep it; it survives a crash once this returns. The same id again does nothing."""
        await self._write(duck_writes.annotate, self._connection, annotation)

    async def query(self, query: Query) -> Answer:
        """Answer a query; a metric that is not known has no tracks. Raises OverloadedError past its bounds."""
        return await self._read(
            lambda cursor: duck_reads.answered(
                cursor, self._catalog, query, self._reach(), self._settings.values_max
            )
        )

    async def distributions(self, query: Query) -> tuple[tuple[Mapping[str, str], ExponentialHistogram], ...]:
        """Return the observations of the whole window, merged, for each combination of the labels of `group_by`."""
        return await self._read(
            lambda cursor: duck_reads.distributions(cursor, self._catalog, query, self._reach())
        )

    async def metrics(self) -> tuple[MetricInfo, ...]:
        """Return what the store holds, by name."""
        return self._catalog.metrics()

    async def annotations(
        self, window: Window, *, resource: str = "", count_max: int = 100
    ) -> tuple[Annotation, ...]:
        """Return what changed, newest first; `resource` keeps those of it and of what is below it."""
        return await self._read(lambda cursor: duck_reads.noted(cursor, window, resource, count_max))

    async def trace(self, trace_id: str) -> tuple[Span, ...]:
        """Return the spans of one trace, in order of their begin."""
        return await self._read(lambda cursor: duck_spans.of_trace(cursor, trace_id, TRACE_SPANS_MAX))

    async def spans(
        self, window: Window, *, failed: bool = False, order: Order = Order.SLOWEST, count_max: int = 100
    ) -> tuple[Span, ...]:
        """Return spans that began in the window; only those that failed if `failed`."""
        return await self._read(
            lambda cursor: duck_spans.found(cursor, window, failed=failed, order=order, count_max=count_max)
        )

    async def write_parquet(self, begin_ms: int, end_ms: int, folder: Path) -> tuple[Path, ...]:
        """Write the minutes of a span of time, a file for each family of points."""
        return await self._read(
            lambda cursor: duck_parquet.written(cursor, Resolution.MINUTE, begin_ms, end_ms, folder)
        )

    def series(self) -> tuple[Series, ...]:
        """Return every series that the store knows."""
        return self._catalog.series()

    def _reach(self) -> Reach:
        return Reach(self._held, self._frontier.raw_ms, self._frontier.minute_ms)

    def _load(self) -> None:
        with duck_writes.transaction(self._connection):
            for statement in duck_schema.statements():
                self._connection.execute(statement)
        self._catalog.load(self._connection)
        self._seq = duck_writes.last_seq(self._connection)
        self._held = duck_retention.held(self._connection)

    def _append(self, points: Sequence[Point]) -> None:
        self._seq += 1
        self._frontier.appended(min((point.time_ms for point in points), default=FAR_MS))
        duck_writes.append(self._connection, self._catalog, points, self._seq)

    def _roll_up(self, now_ms: int) -> None:
        self._seq += 1
        self._frontier.rolling_up()
        self._frontier.rolled_up(duck_writes.roll_up(self._connection, now_ms, self._seq))

    def _retain(self, now_ms: int, retention: Retention) -> Retained:
        trimmed = duck_retention.retain(self._connection, now_ms, retention)
        self._held = duck_retention.held(self._connection)
        return Retained(tuple(trimmed), duck_retention.size_bytes(self._connection))

    def _forget_series(self) -> tuple[Series, ...]:
        return self._catalog.forget(duck_retention.forget_series(self._connection))

    async def _write(self, function: Callable[..., Result], *given: object, work: str = "append") -> Result:
        """Run in the writer's thread. Whoever leaves does not undo what has begun."""
        written = asyncio.get_running_loop().run_in_executor(self._writer, _timed, work, function, *given)
        return await asyncio.shield(written)

    async def _read(self, function: Callable[[duckdb.DuckDBPyConnection], Result]) -> Result:
        if self._reads >= self._settings.readers_max + self._settings.reads_waiting_max:
            raise OverloadedError(
                f"{self._reads} queries wait, no more may", reason="QUERIES_WAITING", got=self._reads
            )
        self._reads += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._readers, self._with_cursor, function
            )
        finally:
            self._reads -= 1

    def _with_cursor(self, function: Callable[[duckdb.DuckDBPyConnection], Result]) -> Result:
        with self._connection.cursor() as cursor:
            return function(cursor)


def _timed(work: str, function: Callable[..., Result], *given: object) -> Result:
    """Do it, take its time, and say in our words what the database says of itself."""
    begin_s = time.perf_counter()
    try:
        return function(*given)
    except duckdb.FatalException:
        raise  # it has closed itself: only another start helps
    except (duckdb.IOException, duckdb.OutOfMemoryException, duckdb.TransactionException) as error:
        raise UnavailableError("the store cannot do this now", reason="STORE_AWAY") from error
    finally:
        spent_s = time.perf_counter() - begin_s
        metrics.histogram(names.METRICS_STORE_DURATION).labels(work=work).observe(spent_s)


def _connected(path: str, settings: StoreSettings) -> duckdb.DuckDBPyConnection:
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{settings.memory_bytes_max // (1 << 20)}MiB",
        "threads": settings.threads_max,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "temp_directory": "" if path == IN_MEMORY else f"{path}.spill",
        "max_temp_directory_size": f"{settings.spill_bytes_max // (1 << 20)}MiB",
    }
    try:
        return duckdb.connect(path, config=config)
    except duckdb.Error as error:
        raise UnavailableError(
            "the store cannot be opened: another process has it, or its file is damaged", reason="STORE_AWAY"
        ) from error

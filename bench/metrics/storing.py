"""A day of the made-up mesh in the store, and how long it takes to ask it about a week."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from bench.metrics.fleet import DAY_S, Fleet, Size
from servemesh.metrics import bounds
from servemesh.metrics.adapters.duck_store import DuckStore
from servemesh.metrics.api import otlp_messages
from servemesh.metrics.domain.cardinality import Roster
from servemesh.metrics.domain.digesting import Digestion
from servemesh.metrics.domain.figures import Prices
from servemesh.metrics.domain.points import Point
from servemesh.metrics.domain.queries import Window
from servemesh.metrics.service.overview import Overview, SubjectKind
from servemesh.metrics.settings import Settings

BEGIN_S = 1_790_000_000 // DAY_S * DAY_S
INTERVAL_S, MINUTE_S, HOUR_S = 5.0, 60.0, 3_600.0
RETAIN_S = 1_800.0


class FilledStore:
    """A store that messages are brought to on the path of the service, without a network between."""

    def __init__(self, store: DuckStore, settings: Settings, size: Size) -> None:
        self.store = store
        self.fleet = Fleet(size, BEGIN_S)
        self.point_count = 0
        self._settings = settings
        self._digestion = Digestion(
            Roster(bounds.series_limits(settings)),
            bounds.time_bounds(settings),
            streams_max=settings.streams_max,
            scale_max=settings.histogram_scale_max,
            watched_ms=0,
        )

    @staticmethod
    @asynccontextmanager
    async def opened(folder: Path, size: Size) -> AsyncIterator[FilledStore]:
        """Open it as the service does by default."""
        settings = Settings(data_dir=folder)
        async with DuckStore.opened(folder / "metrics.duckdb", bounds.store_settings(settings)) as store:
            yield FilledStore(store, settings, size)

    async def fill(self, begin_s: float, end_s: float, interval_s: float) -> None:
        """Let the mesh send every `interval_s`, and keep house as the service does."""
        retention = bounds.housekeeping_settings(self._settings).retention
        time_s, retained_s = begin_s, begin_s
        while time_s < end_s:
            time_s += interval_s
            now_ms = round(time_s * 1000)
            points: list[Point] = []
            for request in self.fleet.requests(time_s, interval_s):
                points += self._digestion.digested(otlp_messages.samples(request), now_ms).points
            await self.store.append(points)
            self.point_count += len(points)
            if time_s % MINUTE_S < interval_s:
                await self.store.roll_up(now_ms)
            if time_s - retained_s >= max(RETAIN_S, 12 * interval_s):
                retained_s = time_s
                await self.store.retain(now_ms, retention)


async def day(folder: Path, size: Size, hours: float = 24.0) -> tuple[int, int]:
    """Return how many bytes a day takes on disk, and how many points went in.

    Points older than the service keeps them are sent once a minute instead of every 5 s: what is left of them, the
    roll-ups of minutes, has the same rows.
    """
    async with FilledStore.opened(folder, size) as filled:
        end_s = BEGIN_S + hours * HOUR_S
        raw_s = max(BEGIN_S, end_s - Settings(data_dir=folder).raw_s)
        await filled.fill(BEGIN_S, raw_s, MINUTE_S)
        await filled.fill(raw_s, end_s, INTERVAL_S)
        count = filled.point_count
    return _size_bytes(folder), count


async def week(folder: Path, size: Size, asked: int) -> list[float]:
    """Return the seconds that each overview of seven days took.

    Only the last minutes are sent every 5 s, and all before the last hour hourly: its roll-ups have the same rows.
    """
    async with FilledStore.opened(folder, size) as filled:
        end_s = BEGIN_S + 7 * DAY_S
        await filled.fill(BEGIN_S, end_s - HOUR_S, HOUR_S)
        await filled.fill(end_s - HOUR_S, end_s - 600, MINUTE_S)
        await filled.fill(end_s - 600, end_s, INTERVAL_S)
        overview = Overview(filled.store, _none, Prices())
        window = Window(begin_s=end_s - 7 * DAY_S, end_s=end_s)
        spent = []
        for _ in range(asked):
            begin_s = time.perf_counter()
            await overview.get(window, SubjectKind.MODEL)
            spent.append(time.perf_counter() - begin_s)
    return spent


def _size_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


async def _none() -> int:
    return 0


def p95_ms(spent: list[float]) -> float:
    """Return the 95th percentile in milliseconds."""
    return float(np.quantile(spent, 0.95)) * 1000

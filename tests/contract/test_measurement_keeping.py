"""What the store of measurements keeps: over restarts and kills, and no longer and no more than it should."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from servemesh.errors import UnavailableError
from servemesh.metrics.adapters.duck_store import DuckStore
from servemesh.metrics.domain.queries import Measure, Window
from servemesh.metrics.domain.retention import Retention
from servemesh.metrics.domain.spans import Order, Span
from tests.harness.measurements import (
    BEGIN_MS,
    END_MS,
    HOUR_MS,
    MINUTE_MS,
    a_count,
    a_query,
    questions,
    three_hours,
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DuckStore]:
    async with DuckStore.opened(tmp_path / "metrics.duckdb") as opened:
        yield opened


async def test_what_is_kept_is_there_after_another_start(tmp_path: Path):
    async with DuckStore.opened(tmp_path / "m.duckdb") as first:
        await first.append(three_hours())
        await first.roll_up(BEGIN_MS + 2 * HOUR_MS)
        asked = [await first.query(query) for query in questions()]
    async with DuckStore.opened(tmp_path / "m.duckdb") as second:
        await second.roll_up(END_MS + HOUR_MS)
        for query, then in zip(questions(), asked, strict=True):
            for track, earlier in zip((await second.query(query)).tracks, then.tracks, strict=True):
                np.testing.assert_allclose(track.values, earlier.values)


async def test_points_go_when_they_are_old_and_their_roll_ups_stay(store: DuckStore):
    await store.append(three_hours())
    now_ms = END_MS + 2 * HOUR_MS
    await store.roll_up(END_MS + HOUR_MS)
    await store.roll_up(now_ms)
    await store.retain(now_ms, Retention(raw_s=3_600, minute_s=7_200))
    answer = await store.query(a_query("calls", Measure.INCREASE, BEGIN_MS, END_MS, step_ms=10_000))
    assert (answer.step_s, sum(track.values.sum() for track in answer.tracks)) == (3_600, 3240.0)


async def test_what_is_not_rolled_up_yet_is_not_deleted(store: DuckStore):
    await store.append(three_hours())
    await store.retain(END_MS + 100 * HOUR_MS, Retention(raw_s=3_600, minute_s=7_200))
    (track,) = (await store.query(a_query("calls", Measure.INCREASE, BEGIN_MS, END_MS))).tracks
    assert track.values.sum() == 3240.0


async def test_a_store_that_is_too_large_gives_up_its_oldest_points_first(store: DuckStore):
    await store.append(three_hours())
    for later_ms in (HOUR_MS, 2 * HOUR_MS):
        await store.roll_up(END_MS + later_ms)
    retained = await store.retain(END_MS + HOUR_MS, Retention(raw_s=86_400, size_bytes_max=1))
    assert [trim.resolution.name for trim in retained.trimmed][:1] == ["RAW"]
    assert {trim.resolution.name for trim in retained.trimmed} >= {"RAW", "MINUTE"}


async def test_series_without_points_are_forgotten(store: DuckStore):
    await store.append([a_count(BEGIN_MS, worker="old"), a_count(BEGIN_MS + 3 * HOUR_MS, worker="new")])
    for hours in (4, 5, 6):
        await store.roll_up(BEGIN_MS + hours * HOUR_MS)
    await store.retain(BEGIN_MS + 4 * HOUR_MS, Retention(raw_s=7_200, minute_s=7_200, hour_s=7_200))
    assert [dict(series.labels)["worker"] for series in await store.forget_series()] == ["old"]
    await store.append([a_count(BEGIN_MS + 4 * HOUR_MS, worker="old")])
    (info,) = await store.metrics()
    assert info.series_count == 2


async def test_readers_see_whole_flushes_and_do_not_wait_for_the_writer(store: DuckStore):
    points = [a_count(BEGIN_MS + place, worker=f"w{place % 10}") for place in range(1_000)]
    seen: list[float] = []
    writing = True

    async def read() -> None:
        while writing:
            answer = await store.query(a_query("calls", Measure.INCREASE, BEGIN_MS, END_MS))
            seen.extend(float(track.values[0]) for track in answer.tracks)

    async with asyncio.TaskGroup() as group:
        group.create_task(read())
        for number in range(20):
            await store.append(points)
            await store.roll_up(END_MS + number * MINUTE_MS)
        writing = False
    assert {value % 1_000 for value in seen if not math.isnan(value)} <= {0.0}


async def test_spans_are_found_by_trace_and_by_how_they_ended(store: DuckStore):
    spans = [
        Span(
            trace_id=f"{number % 2}",
            span_id=f"{number}",
            parent_id="",
            name="call",
            labels=(("service", "worker"),),
            begin_ms=BEGIN_MS + number,
            duration_s=float(number),
            failed=number == 3,
            message="boom" if number == 3 else "",
        )
        for number in range(6)
    ]
    await store.append_spans(spans)
    window = Window(begin_s=BEGIN_MS / 1000, end_s=END_MS / 1000)
    assert [span.span_id for span in await store.trace("1")] == ["1", "3", "5"]
    assert [span.span_id for span in await store.spans(window, count_max=2)] == ["5", "4"]
    assert await store.spans(window, failed=True) == (spans[3],)
    await store.trim_spans(BEGIN_MS + 1, 3)
    assert [span.span_id for span in await store.spans(window, order=Order.NEWEST)] == ["5", "4", "3"]


async def test_a_second_process_cannot_open_the_store(tmp_path: Path):
    path = tmp_path / "m.duckdb"
    async with _appending(path):
        with pytest.raises(UnavailableError):
            async with DuckStore.opened(path):
                pass


async def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path: Path):
    path = tmp_path / "m.duckdb"
    for kill_after in (2, 5, 9):
        async with _appending(path) as acknowledged:
            for _ in range(kill_after):
                count = await anext(acknowledged)
        async with DuckStore.opened(path) as store:
            query = a_query("calls", Measure.INCREASE, BEGIN_MS, END_MS)
            (track,) = (await store.query(query)).tracks
            notes = await store.annotations(Window(begin_s=0, end_s=2e9), count_max=1_000)
            assert track.values[0] >= count
            assert track.values[0] % 500 == 0
            assert len(notes) >= count // 500
        path.unlink()


@asynccontextmanager
async def _appending(path: Path) -> AsyncIterator[AsyncIterator[int]]:
    """A child that appends, and says how much, until it is killed with signal 9 at the end of the block."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.harness.appending_child", str(path), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    acknowledged = (int(line) async for line in child.stdout)
    try:
        await anext(acknowledged)
        yield acknowledged
    finally:
        child.kill()
        await child.communicate()

"""The store of measurements: answers are the same however much is rolled up, and a kill loses nothing acknowledged."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from servemesh.errors import InvalidError, OverloadedError
from servemesh.metrics.adapters.duck_store import DuckStore, StoreSettings
from servemesh.metrics.domain.queries import Annotation, Kind, Measure, Window
from tests.harness.measurements import (
    BEGIN_MS,
    END_MS,
    HOUR_MS,
    MINUTE_MS,
    a_count,
    a_distribution,
    a_level,
    a_query,
    questions,
    three_hours,
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DuckStore]:
    async with DuckStore.opened(tmp_path / "metrics.duckdb") as opened:
        yield opened


async def test_answers_are_the_same_however_much_is_rolled_up(store: DuckStore):
    points = three_hours()
    for begin in range(0, len(points), 700):
        await store.append(points[begin : begin + 700])
    before = [await store.query(query) for query in questions()]
    for now_ms in (BEGIN_MS + HOUR_MS // 2, BEGIN_MS + 2 * HOUR_MS, END_MS + HOUR_MS):
        await store.roll_up(now_ms)
        for query, then in zip(questions(), before, strict=True):
            answer = await store.query(query)
            assert [track.labels for track in answer.tracks] == [track.labels for track in then.tracks]
            for track, earlier in zip(answer.tracks, then.tracks, strict=True):
                np.testing.assert_allclose(track.values, earlier.values, err_msg=f"{query} at {now_ms}")


async def test_sums_are_what_was_appended(store: DuckStore):
    await store.append(three_hours())
    await store.roll_up(END_MS)
    query = a_query("calls", Measure.INCREASE, BEGIN_MS, END_MS, "worker")
    sums = {track.labels["worker"]: float(track.values[0]) for track in (await store.query(query)).tracks}
    assert sums == {"w0": 540.0, "w1": 1080.0, "w2": 1620.0}


async def test_points_that_come_after_their_minute_was_rolled_up_are_counted(store: DuckStore):
    await store.append([a_count(BEGIN_MS + 5)])
    await store.roll_up(BEGIN_MS + 2 * HOUR_MS)
    await store.append([a_count(BEGIN_MS + 6), a_level(BEGIN_MS + 6, 1.0)])
    for now_ms in (BEGIN_MS + 2 * HOUR_MS, BEGIN_MS + 3 * HOUR_MS, BEGIN_MS + 4 * HOUR_MS):
        query = a_query("calls", Measure.INCREASE, BEGIN_MS, END_MS, step_ms=HOUR_MS)
        (track,) = (await store.query(query)).tracks
        assert track.values[0] == 2.0
        await store.roll_up(now_ms)


async def test_quantiles_of_several_workers_are_those_of_all_their_observations(store: DuckStore):
    await store.append(
        [
            a_distribution(BEGIN_MS, *[0.01] * 90, worker="fast"),
            a_distribution(BEGIN_MS, *[1.0] * 10, worker="slow"),
        ]
    )
    query = a_query("duration", Measure.QUANTILE, BEGIN_MS, END_MS, quantile=0.95)
    ((labels, histogram),) = await store.distributions(query)
    assert (dict(labels), histogram.count) == ({}, 100)
    assert histogram.quantile(0.95) == pytest.approx(1.0, rel=0.05)
    assert histogram.quantile(0.5) == pytest.approx(0.01, rel=0.05)
    assert histogram.sum == pytest.approx(10.9)
    (track,) = (await store.query(query)).tracks
    assert track.values[0] == histogram.quantile(0.95)


async def test_distributions_of_different_scales_are_merged_at_the_coarser(store: DuckStore):
    fine, coarse = a_distribution(BEGIN_MS, 0.5, 0.6), a_distribution(BEGIN_MS + 1, 0.5, 8.0)
    assert not isinstance(coarse.value, float)
    await store.append([fine, coarse._replace(value=coarse.value.at_scale(0))])
    ((_, histogram),) = await store.distributions(a_query("duration", Measure.QUANTILE, BEGIN_MS, END_MS))
    assert (histogram.scale, histogram.count) == (0, 4)


async def test_filters_choose_series_and_labels_keep_them_apart(store: DuckStore):
    await store.append(three_hours())
    query = a_query("calls", Measure.INCREASE, BEGIN_MS, END_MS, "worker", "tenant", model="a")
    answer = await store.query(query)
    assert [dict(track.labels) for track in answer.tracks] == [
        {"worker": "w1", "tenant": ""},
        {"worker": "w2", "tenant": ""},
    ]
    assert (await store.query(a_query("calls", Measure.RATE, BEGIN_MS, END_MS, model="no"))).tracks == ()


async def test_where_nothing_was_measured_there_is_no_number(store: DuckStore):
    await store.append([a_count(BEGIN_MS), a_count(BEGIN_MS + 2 * HOUR_MS)])
    query = a_query("calls", Measure.RATE, BEGIN_MS, END_MS, step_ms=HOUR_MS)
    (track,) = (await store.query(query)).tracks
    assert math.isnan(track.values[1])
    assert not math.isnan(track.values[2])


async def test_a_step_that_has_not_ended_is_divided_by_what_there_was_of_it(store: DuckStore):
    await store.append([a_count(BEGIN_MS + HOUR_MS + second * 1_000) for second in range(60)])
    query = a_query("calls", Measure.RATE, BEGIN_MS, BEGIN_MS + HOUR_MS + MINUTE_MS, step_ms=HOUR_MS)
    (track,) = (await store.query(query)).tracks
    assert track.values[1] == pytest.approx(1.0)


async def test_an_unknown_metric_has_no_tracks(store: DuckStore):
    answer = await store.query(a_query("unknown", Measure.RATE, BEGIN_MS, END_MS))
    assert answer.tracks == ()
    assert await store.distributions(a_query("unknown", Measure.QUANTILE, BEGIN_MS, END_MS)) == ()


async def test_a_measure_that_does_not_fit_is_refused(store: DuckStore):
    await store.append([a_level(BEGIN_MS, 1.0)])
    with pytest.raises(InvalidError, match="gauge") as refused:
        await store.query(a_query("memory", Measure.RATE, BEGIN_MS, END_MS))
    assert refused.value.reason == "MEASURE_UNFIT"


async def test_answers_larger_than_the_bound_are_refused():
    async with DuckStore.opened(":memory:", StoreSettings(values_max=100)) as small:
        await small.append([a_count(BEGIN_MS)])
        with pytest.raises(OverloadedError) as refused:
            await small.query(a_query("calls", Measure.RATE, BEGIN_MS, END_MS, step_ms=1_000))
        assert refused.value.reason == "QUERY_TOO_LARGE"


async def test_metrics_are_listed_with_their_labels(store: DuckStore):
    await store.append(three_hours())
    known = {info.name: info for info in await store.metrics()}
    assert sorted(known) == ["calls", "duration", "memory"]
    assert (known["calls"].kind, known["calls"].series_count) == (Kind.COUNTER, 3)
    assert known["memory"].labels == ("model", "worker")


async def test_annotations_are_kept_once_and_found_by_what_they_are_below_of(store: DuckStore):
    for number, resource in enumerate(("models/a", "models/a/versions/1", "models/ab", "models/a")):
        note = Annotation(
            annotation_id=f"n{number % 3}", time_s=100.0 + number, kind="k", resource=resource, text="t"
        )
        await store.annotate(note)
    window = Window(begin_s=0, end_s=1_000)
    assert [one.annotation_id for one in await store.annotations(window)] == ["n2", "n1", "n0"]
    assert [one.annotation_id for one in await store.annotations(window, resource="models/a")] == ["n1", "n0"]
    assert len(await store.annotations(window, count_max=2)) == 2

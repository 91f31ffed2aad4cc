"""Series stay bounded, labels are those that may be kept, and what is wrong with a point is said."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from servemesh.metrics.domain.cardinality import OTHER, Roster, SeriesLimits
from servemesh.metrics.domain.digesting import Digestion
from servemesh.metrics.domain.points import Point
from servemesh.metrics.domain.samples import Drop, Flow, Sample, Shape, Source
from servemesh.metrics.domain.temporality import Bounds

NOW_MS = 1_000_000_000
WORKER = Source((("instance", "worker-1"), ("service", "worker")), "")


def a_digestion(*, streams_max: int = 1_000, **limits: int) -> Digestion:
    kept = frozenset({"service", "instance", "model"})
    roster = Roster(SeriesLimits(labels_kept=kept, **limits))
    return Digestion(roster, Bounds(), streams_max=streams_max, scale_max=4, watched_ms=0)


def a_sample(
    model: str = "m", *, metric: str = "calls", value: float | Drop = 1.0, **changes: object
) -> Sample:
    flow = changes.pop("flow", Flow.DELTA_COUNTER)
    assert isinstance(flow, Flow)
    attributes = (("model", model), *((str(key), str(text)) for key, text in changes.items()))
    return Sample(WORKER, Shape(metric, "", flow), attributes, 0, NOW_MS, value)


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 10))
def test_there_are_never_more_series_of_a_metric_than_the_limit_and_its_other(models: list[int], limit: int):
    digestion = a_digestion(metric_series_max=limit)
    samples = [a_sample(f"model-{model}") for model in models]
    points = digestion.digested(samples, NOW_MS).points
    assert len({point.series for point in points}) <= limit + 1
    # What is new counts, folded or not.
    assert len(points) == len(set(models))


def test_points_past_the_limit_go_to_one_series_of_others():
    digestion = a_digestion(series_max=2)
    points = digestion.digested([a_sample(f"model-{n}") for n in range(5)], NOW_MS).points
    folded = [point.series for point in points[2:]]
    assert set(folded) == {folded[0]}
    assert {value for _, value in folded[0].labels} == {OTHER}
    assert digestion.census.folded == 3


def test_what_one_knew_before_a_restart_has_its_place():
    digestion = a_digestion(series_max=2)
    known = [point.series for point in digestion.digested([a_sample("a"), a_sample("b")], NOW_MS).points]
    roster = Roster(SeriesLimits(series_max=2, labels_kept=frozenset({"service", "instance", "model"})))
    roster.load(known)
    again = Digestion(roster, Bounds(), streams_max=100, scale_max=4, watched_ms=0)
    assert [point.series for point in again.digested([a_sample("b"), a_sample("a")], NOW_MS).points] == known[
        ::-1
    ]


def test_series_that_are_forgotten_make_room():
    digestion = a_digestion(series_max=1)
    (point,) = digestion.digested([a_sample("a")], NOW_MS).points
    digestion.forget_series([point.series])
    assert ("model", "b") not in digestion.digested([a_sample("b")], NOW_MS).points[0].series.labels
    digestion.forget(NOW_MS + 1)
    digestion.forget_series([point.series])
    assert ("model", "c") in digestion.digested([a_sample("c")], NOW_MS).points[0].series.labels


def test_labels_that_are_not_listed_are_dropped_and_counted():
    digestion = a_digestion()
    (point,) = digestion.digested([a_sample(user="anna@example.org")], NOW_MS).points
    assert dict(point.series.labels) == {"service": "worker", "instance": "worker-1", "model": "m"}
    assert digestion.census.labels_dropped == 1


def test_labels_are_cut_to_their_length():
    (point,) = a_digestion(label_chars_max=16).digested([a_sample("m" * 100)], NOW_MS).points
    assert dict(point.series.labels)["model"] == "m" * 16


def test_what_a_sender_says_of_itself_goes_before_what_a_point_says():
    (point,) = a_digestion().digested([a_sample(instance="worker-2")], NOW_MS).points
    assert dict(point.series.labels)["instance"] == "worker-1"


def test_streams_that_become_one_series_are_both_counted():
    digestion = a_digestion()
    points = digestion.digested([a_sample(user="a"), a_sample(user="b")], NOW_MS).points
    assert points == [Point(points[0].series, NOW_MS, 1.0)] * 2


def test_a_metric_keeps_the_kind_that_it_was_first_seen_with():
    digestion = a_digestion()
    got = digestion.digested([a_sample("a"), a_sample("b", flow=Flow.GAUGE)], NOW_MS)
    assert (len(got.points), got.drops) == (1, {Drop.CONFLICT: 1})


def test_points_of_too_many_streams_are_refused():
    got = a_digestion(streams_max=2).digested([a_sample(f"model-{n}") for n in range(5)], NOW_MS)
    assert (len(got.points), got.drops) == (2, {Drop.STREAMS: 3})


def test_what_the_reader_found_wrong_is_counted():
    samples = [a_sample(value=drop) for drop in (Drop.SUMMARY, Drop.NOT_FINITE, Drop.NO_VALUE)]
    got = a_digestion().digested(samples, NOW_MS)
    assert got.drops == {Drop.SUMMARY: 1, Drop.NOT_FINITE: 1, Drop.NO_VALUE: 1}

"""The page of the whole mesh: sums of what came, in the form that Prometheus reads."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from servemesh.exponential import ExponentialHistogram
from servemesh.exponential_buckets import Buckets
from servemesh.metrics.adapters.prometheus_page import STALE_S, PrometheusPage, name_of
from servemesh.metrics.domain.points import Point, Series
from servemesh.metrics.domain.queries import Kind
from servemesh.metrics.domain.totals import up_to
from servemesh.observe import names
from servemesh.observe.otlp_metrics import UNITS
from servemesh.observe.recorder import Recorder

DOC = (Path(__file__).parents[3] / "docs" / "observability.md").read_text()
METRICS = [value for value in vars(names).values() if isinstance(value, names.Metric)]
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NOW_MS = round(NOW.timestamp() * 1000)


class StandingClock:
    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time

    def monotonic_s(self) -> float:
        return 0.0

    async def sleep(self, span_s: float) -> None:
        raise AssertionError("nobody sleeps here")


def calls(value: float, **labels: str) -> Point:
    return Point(Series.of("servemesh.worker.calls", Kind.COUNTER, **labels), NOW_MS, value)


def observed(*values: float) -> ExponentialHistogram:
    recorder = Recorder(())
    for value in values:
        recorder.observe(value)
    recorded = recorder.recorded()
    found = recorded.exponential
    positive = Buckets(found.offset, tuple(found.counts))
    return ExponentialHistogram(scale=found.scale, positive=positive, sum=recorded.total)


def shown(page: PrometheusPage) -> dict[str, float]:
    found = {}
    for family in text_string_to_metric_families(page.text().decode()):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            found[f"{sample.name}[{labels}]"] = sample.value
    return found


def test_growth_adds_up_and_gauges_stay_as_they_are():
    page = PrometheusPage(StandingClock())
    slots = Series.of("servemesh.worker.slots", Kind.GAUGE, state="READY")
    page.take([calls(3, model="iris"), calls(4, model="iris"), calls(1, model="net")])
    page.take([Point(slots, NOW_MS, 2.0), Point(slots, NOW_MS - 5, 9.0)])
    assert shown(page) == {
        "servemesh_worker_calls_total[model=iris]": 7,
        "servemesh_worker_calls_total[model=net]": 1,
        "servemesh_worker_slots[state=READY]": 2,
    }


def test_a_distribution_has_exact_buckets_that_end_at_powers_of_two():
    page = PrometheusPage(StandingClock())
    duration = Series.of("servemesh.worker.call.duration", Kind.HISTOGRAM, "s", model="iris")
    for values in ((0.1, 0.2), (0.25, 3.0, 1e9)):
        page.take([Point(duration, NOW_MS, observed(*values))])
    found = shown(page)
    name = "servemesh_worker_call_duration_seconds"
    assert found[f"{name}_count[model=iris]"] == 5
    assert found[f"{name}_bucket[le=0.0625,model=iris]"] == 0
    assert found[f"{name}_bucket[le=0.25,model=iris]"] == 3
    assert found[f"{name}_bucket[le=4.0,model=iris]"] == 4
    assert found[f"{name}_bucket[le=+Inf,model=iris]"] == 5


@pytest.mark.parametrize("scale", [-2, -1, 0, 3])
def test_coarser_buckets_end_at_powers_of_two_too(scale: int):
    distribution = observed(0.3, 1.0, 17.0).at_scale(scale)
    assert up_to(distribution, 40) == 3
    assert up_to(distribution, -40) == 0


def test_series_that_fell_silent_are_forgotten():
    clock = StandingClock()
    page = PrometheusPage(clock)
    page.take([calls(3, model="iris")])
    clock.time += timedelta(seconds=STALE_S + 1)
    assert page.text() == b""


def test_what_a_label_says_cannot_break_the_page():
    page = PrometheusPage(StandingClock())
    page.take([calls(1, model='a"b\\c\nd')])
    assert list(shown(page)) == ['servemesh_worker_calls_total[model=a"b\\c\nd]']


def test_names_follow_prometheus():
    assert name_of("servemesh.process.cpu", "s", Kind.COUNTER) == "servemesh_process_cpu_seconds_total"
    assert name_of("http.server.duration", "ms", Kind.HISTOGRAM) == "http_server_duration"
    assert name_of("7-odd name", "", Kind.GAUGE) == "_7_odd_name"


KINDS = {"counter": Kind.COUNTER, "gauge": Kind.GAUGE, "histogram": Kind.HISTOGRAM}


def test_promtool_finds_nothing_to_say_about_any_of_our_metrics():
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("PROMTOOL IS MISSING: install Debian's package `prometheus` to check the page of metrics")
    page = PrometheusPage(StandingClock())
    page.take([point for metric in METRICS if (point := a_point(metric)) is not None])
    done = subprocess.run(
        [promtool, "check", "metrics"], input=page.text(), capture_output=True, timeout=30, check=False
    )
    assert (done.returncode, (done.stdout + done.stderr).decode()) == (0, "")


def a_point(metric: names.Metric) -> Point | None:
    """A point of the kind that docs/observability.md says the metric has."""
    name = metric.name if metric.name.startswith("envoy.") else metric.name.replace(".", "_")
    found = re.search(rf"^\| `{re.escape(name)}(?:_{metric.unit})?` \| (\w+)", DOC, re.M)
    if found is None or not metric.leaves:
        return None
    kind, labels = KINDS[found[1]], tuple((label, "x") for label in sorted(metric.labels))
    value = observed(0.5) if kind is Kind.HISTOGRAM else 1.0
    return Point(Series(metric.name, kind, UNITS.get(metric.unit, metric.unit), labels), NOW_MS, value)

"""What leaves as OTLP: the numbers of the page, the times they count from, and what waits for a collector."""

from __future__ import annotations

from collections.abc import Iterable

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2

from servemesh.api.otlp.v1 import metrics_pb2, resource_pb2
from servemesh.observe import metrics, names, outbox
from servemesh.observe.metrics import Distribution, Family
from servemesh.observe.otlp_channel import outcome_of
from servemesh.observe.otlp_metrics import Reading, Starts
from servemesh.observe.outbox import Letter, Outbox, Outcome, Verdict

SECOND_NS = 1_000_000_000
RETRY_KEY = "grpc-status-details-bin"


def sent(reading: Reading, families: Iterable[Family], now_ns: int = 0) -> dict[str, metrics_pb2.Metric]:
    (resource,) = reading.taken(now_ns, families).resource_metrics
    return {metric.name: metric for metric in resource.scope_metrics[0].metrics}


def a_reading() -> Reading:
    return Reading(resource_pb2.Resource(), begin_ns=0)


def calls(count: float) -> list[Family]:
    return [metrics.counted(names.WORKER_CALLS, {("iris", "1", "answered"): count})]


def test_counters_gauges_and_distributions_leave_under_their_dotted_names():
    distribution = Distribution(names.WORKER_CALL_DURATION)
    for value in (0.25, 0.5, 3.0):
        distribution.labels(model="iris", version="1").observe(value)
    families = [*calls(3), metrics.gauged(names.WORKER_SLOTS, {("READY",): 2}), *distribution.collect()]
    found = sent(a_reading(), families)
    (point,) = found["servemesh.worker.calls"].sum.data_points
    assert point.as_double == 3
    assert {one.key: one.value.string_value for one in point.attributes} == {
        "model": "iris",
        "version": "1",
        "outcome": "answered",
    }
    (slots,) = found["servemesh.worker.slots"].gauge.data_points
    assert slots.as_double == 2
    duration = found["servemesh.worker.call.duration"]
    (durations,) = duration.exponential_histogram.data_points
    assert duration.unit == "s"
    assert (durations.count, durations.sum, durations.scale) == (3, 3.75, 4)
    assert durations.positive.offset == (-2 << 4) - 1
    assert sum(durations.positive.bucket_counts) == 3


def test_names_of_others_and_of_triton_do_not_leave():
    strange = Family("python_gc_objects", "h", "gauge")
    assert not sent(a_reading(), [strange, metrics.counted(names.TRITON_SUCCESS, {("iris", "1"): 1})])


def test_a_series_counts_since_the_last_reading_that_did_not_have_it():
    reading = a_reading()
    sent(reading, [], 5 * SECOND_NS)
    for now in (10, 15):
        (point,) = sent(reading, calls(4), now * SECOND_NS)["servemesh.worker.calls"].sum.data_points
        assert (point.start_time_unix_nano, point.time_unix_nano) == (5 * SECOND_NS, now * SECOND_NS)


def test_a_series_that_has_less_than_before_counts_anew():
    starts = Starts(0)
    key = ("calls", ())
    assert starts.start_ns(key, 5) == 0
    starts.read(7)
    assert starts.start_ns(key, 3) == 7
    starts.read(9)
    assert starts.start_ns(key, 4) == 7


def test_families_of_a_collector_that_has_left_are_sent_once_more():
    reading = a_reading()
    reading.left(calls(9))
    assert "servemesh.worker.calls" in sent(reading, [])
    assert not sent(reading, [])


def test_a_method_that_nobody_has_called_is_not_spoken_of_and_one_that_was_called_always_is():
    def families(count: float, in_flight: float) -> list[Family]:
        return [
            metrics.counted(names.RPC_SERVER_CALLS, {("/a", "OK"): count, ("/b", "OK"): 0}),
            metrics.gauged(names.RPC_SERVER_IN_FLIGHT, {("/a",): in_flight, ("/b",): 0}),
        ]

    def methods(found: dict[str, metrics_pb2.Metric]) -> list[list[str]]:
        calls, in_flight = found["servemesh.rpc.server.calls"], found["servemesh.rpc.server.in_flight"]
        return [
            [point.attributes[0].value.string_value for point in points]
            for points in (calls.sum.data_points, in_flight.gauge.data_points)
        ]

    reading = a_reading()
    assert methods(sent(reading, families(0, 0))) == [[], []]
    assert methods(sent(reading, families(0, 1))) == [[], ["/a"]]
    assert methods(sent(reading, families(1, 0))) == [["/a"], ["/a"]]


def test_a_distribution_in_which_nothing_was_observed_does_not_leave():
    distribution = Distribution(names.RPC_SERVER_DURATION)
    distribution.labels(method="/a.B/Never")
    distribution.labels(method="/a.B/Once").observe(0.5)
    (point,) = sent(a_reading(), distribution.collect())[
        "servemesh.rpc.server.duration"
    ].exponential_histogram.data_points
    assert point.attributes[0].value.string_value == "/a.B/Once"


class Post:
    """A collector that answers as it is told."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.letters: list[Letter] = []

    def __call__(self, letter: Letter) -> Outcome:
        self.letters.append(letter)
        return self.outcomes.pop(0) if self.outcomes else Outcome(verdict=Verdict.TAKEN)


def a_letter(method: str = "/a/B") -> Letter:
    return Letter(method=method, message=b"")


def test_what_the_collector_does_not_take_now_is_sent_when_it_says():
    dropped: list[Letter] = []
    box, post = Outbox(dropped.append, lambda: 1.0), Post(Outcome(verdict=Verdict.LATER, after_s=4.0))
    box.put(a_letter())
    box.send(post, lambda: 10.0)
    box.send(post, lambda: 13.9)
    assert (len(post.letters), len(box), box.is_failing) == (1, 1, True)
    box.send(post, lambda: 14.0)
    assert (len(post.letters), len(box), box.is_failing, dropped) == (2, 0, False, [])


def test_pauses_grow_while_nobody_answers_and_are_bounded():
    later = [Outcome(verdict=Verdict.LATER) for _ in range(10)]
    box, post, now_s = Outbox(lambda letter: None, lambda: 1.0), Post(*later), 0.0
    box.put(a_letter())
    pauses = []
    for _ in later:
        box.send(post, lambda: now_s)  # noqa: B023
        began_s = now_s
        while len(post.letters) == len(pauses) + 1 and now_s < began_s + 100:
            now_s += 0.5
            box.send(post, lambda: now_s)  # noqa: B023
        pauses.append(now_s - began_s)
    assert pauses[:4] == [1.0, 2.0, 4.0, 8.0]
    assert max(pauses) == outbox.PAUSE_S_MAX


def test_the_last_sending_asks_before_the_collector_wants_to_be_asked():
    box, post = Outbox(lambda letter: None, lambda: 1.0), Post(Outcome(verdict=Verdict.LATER, after_s=20.0))
    box.put(a_letter())
    box.send(post, lambda: 0.0)
    box.send(post, lambda: 0.1, last=True)
    assert not len(box)


def test_the_oldest_goes_when_there_is_no_room_and_what_is_refused_goes_too():
    dropped: list[Letter] = []
    box = Outbox(dropped.append, lambda: 1.0)
    letters = [a_letter(f"/a/{number}") for number in range(outbox.WAITING_MAX + 1)]
    for letter in letters:
        box.put(letter)
    assert dropped == letters[:1]
    post = Post(Outcome(verdict=Verdict.REFUSED))
    box.send(post, lambda: 0.0)
    assert dropped == letters[:2]
    assert not len(box)


def trailers(after_s: int) -> tuple[tuple[str, bytes], ...]:
    retry, detail = error_details_pb2.RetryInfo(), AnyMessage()
    retry.retry_delay.seconds = after_s
    detail.Pack(retry)
    return ((RETRY_KEY, status_pb2.Status(details=[detail]).SerializeToString()),)


@pytest.mark.parametrize(
    ("code", "after_s", "outcome"),
    [
        (grpc.StatusCode.UNAVAILABLE, None, Outcome(verdict=Verdict.LATER)),
        (grpc.StatusCode.UNAVAILABLE, 3, Outcome(verdict=Verdict.LATER, after_s=3.0)),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 2, Outcome(verdict=Verdict.LATER, after_s=2.0)),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, None, Outcome(verdict=Verdict.REFUSED)),
        (grpc.StatusCode.INVALID_ARGUMENT, None, Outcome(verdict=Verdict.REFUSED)),
        (grpc.StatusCode.UNIMPLEMENTED, None, Outcome(verdict=Verdict.REFUSED)),
    ],
)
def test_statuses_mean_what_the_protocol_says(code: grpc.StatusCode, after_s: int | None, outcome: Outcome):
    assert outcome_of(code, () if after_s is None else trailers(after_s)) == outcome

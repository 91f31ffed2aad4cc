"""The metrics service takes OTLP over gRPC as any sender speaks it, and says what it does not take."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from servemesh.api.metrics.v1 import metrics_pb2 as pb
from servemesh.api.metrics.v1 import metrics_pb2_grpc as pb_grpc
from servemesh.api.otlp.v1 import metrics_export_pb2, metrics_pb2, trace_export_pb2
from servemesh.observe import otlp_paths
from servemesh.observe.otlp_metrics import attributes_of, resource_of
from tests.harness.metrics_service import metrics_service
from tests.harness.waiting import eventually

DELTA = metrics_pb2.AGGREGATION_TEMPORALITY_DELTA
NOW_NS = time.time_ns()


def a_request(point_count: int = 1, *, time_ns: int = 0, metric: str = "shop.orders") -> Any:
    """Points of as many models, one each."""
    request = metrics_export_pb2.ExportMetricsServiceRequest()
    resource = request.resource_metrics.add(
        resource=resource_of(service_dot_name="shop", service_dot_instance_dot_id="shop-1")
    )
    data = resource.scope_metrics.add().metrics.add(name=metric).sum
    data.is_monotonic, data.aggregation_temporality = True, DELTA
    for number in range(point_count):
        data.data_points.add(
            attributes=attributes_of({"model": f"m{number}"}),
            time_unix_nano=time_ns or time.time_ns(),
            as_int=2,
        )
    return request


async def export(channel: grpc.aio.Channel, request: Any, **options: Any) -> Any:
    """Send a request as exporters do."""
    path, response = (
        (otlp_paths.TRACES, trace_export_pb2.ExportTraceServiceResponse)
        if isinstance(request, trace_export_pb2.ExportTraceServiceRequest)
        else (otlp_paths.METRICS, metrics_export_pb2.ExportMetricsServiceResponse)
    )
    call = channel.unary_unary(
        path,
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=response.FromString,
    )
    return await call(request, **options)


async def increase(channel: grpc.aio.Channel, metric: str = "shop.orders", *by: str) -> dict[str, float]:
    """Return the growth of the last hour, by label."""
    request = pb.QueryRangeRequest(metric=metric, measure=pb.MEASURE_INCREASE, group_by=by)
    request.window.start_time.FromNanoseconds(NOW_NS - 3_000 * 10**9)
    request.window.end_time.FromNanoseconds(NOW_NS + 600 * 10**9)
    request.step.seconds = 3_600
    answer = await pb_grpc.MetricsServiceStub(channel).QueryRange(request)
    return {"/".join(track.labels.values()): track.values[0] for track in answer.tracks}


async def has_grown(
    channel: grpc.aio.Channel, expected: dict[str, float], metric: str = "shop.orders", *by: str
) -> bool:
    return await increase(channel, metric, *by) == expected


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
async def test_points_can_be_asked_for_once_they_are_stored(tmp_path: Path, compression: grpc.Compression):
    async with metrics_service(tmp_path) as (channel, _):
        response = await export(channel, a_request(3), compression=compression)
        assert not response.HasField("partial_success")
        expected = {"m0": 2.0, "m1": 2.0, "m2": 2.0}
        await eventually(lambda: has_grown(channel, expected, "shop.orders", "model"))


async def test_a_sender_is_told_what_is_not_taken(tmp_path: Path):
    request = a_request(2)
    request.MergeFrom(a_request(1, time_ns=NOW_NS + 10**13))
    request.MergeFrom(a_request(3, time_ns=10**15))
    scope = request.resource_metrics[0].scope_metrics[0]
    scope.metrics.add(name="shop.load").gauge.data_points.add(time_unix_nano=NOW_NS, as_double=float("nan"))
    scope.metrics.add(name="shop.summary").summary.data_points.add(time_unix_nano=NOW_NS, count=1)
    scope.metrics.add(name="shop.nothing")
    async with metrics_service(tmp_path) as (channel, _):
        partial = (await export(channel, request)).partial_success
    assert partial.rejected_data_points == 6
    for told in ("future: 1", "ancient: 3", "not_finite: 1", "summary: 1"):
        assert told in partial.error_message


async def test_points_that_come_again_are_not_counted_again(tmp_path: Path):
    async with metrics_service(tmp_path) as (channel, _):
        request = a_request(1)
        for _ in range(3):
            response = await export(channel, request)
            assert not response.HasField("partial_success")
        await eventually(lambda: has_grown(channel, {"": 2.0}))


async def test_a_full_queue_tells_senders_when_to_come_again(tmp_path: Path):
    async with metrics_service(tmp_path, ingest_bytes_max=1 << 20) as (channel, _):
        refused: list[grpc.aio.AioRpcError] = []
        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(_refusal(channel, a_request(5_000, metric=f"shop.orders{number}"), refused))
        assert refused
        assert refused[0].code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        status = rpc_status.from_call(refused[0])
        assert status is not None
        details = {detail.type_url.rpartition("/")[2]: detail for detail in status.details}
        told = error_details_pb2.RetryInfo()
        assert details["google.rpc.RetryInfo"].Unpack(told)
        assert told.retry_delay.ToNanoseconds() > 0
        await eventually(lambda: _is_taken(channel))


async def _refusal(channel: grpc.aio.Channel, request: Any, refused: list[grpc.aio.AioRpcError]) -> None:
    try:
        await export(channel, request)
    except grpc.aio.AioRpcError as error:
        refused.append(error)


async def _is_taken(channel: grpc.aio.Channel) -> bool:
    try:
        await export(channel, a_request(1))
    except grpc.aio.AioRpcError:
        return False
    return True


async def test_malformed_messages_are_refused(tmp_path: Path):
    async with metrics_service(tmp_path) as (channel, _):
        call = channel.unary_unary(otlp_paths.METRICS)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(b"\xff\xff\xff not a message")
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_spans_without_ids_are_refused_and_the_others_taken(tmp_path: Path):
    request = trace_export_pb2.ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    times = {"start_time_unix_nano": NOW_NS, "end_time_unix_nano": NOW_NS + 1}
    scope.spans.add(trace_id=b"t" * 16, span_id=b"s" * 8, name="call", **times)
    scope.spans.add(trace_id=b"t", span_id=b"s" * 8, name="call", **times)
    async with metrics_service(tmp_path) as (channel, _):
        assert (await export(channel, request)).partial_success.rejected_spans == 1


async def test_metrics_are_listed_in_pages(tmp_path: Path):
    async with metrics_service(tmp_path) as (channel, _):
        names = [f"shop.metric{number}" for number in range(5)]
        for name in names:
            await export(channel, a_request(1, metric=name))
        stub, listed, token = pb_grpc.MetricsServiceStub(channel), list[str](), ""
        await eventually(lambda: has_grown(channel, {"": 2.0}, names[-1]))
        while True:
            page = await stub.ListMetrics(pb.ListMetricsRequest(page_size=2, page_token=token))
            listed += [metric.name for metric in page.metrics]
            token = page.next_page_token
            if not token:
                break
        assert [name for name in listed if name.startswith("shop.")] == names


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"metric": ""}, "NAME_MALFORMED"),
        ({"window": pb.Window()}, "WINDOW_INVALID"),
        ({"quantile": 1.5}, "OUT_OF_RANGE"),
        ({"measure": 99}, "ENUM_UNKNOWN"),
        ({"group_by": [""]}, "FILTER_MALFORMED"),
        ({"filters": [pb.LabelFilter(label="model")]}, "FILTER_MALFORMED"),
    ],
)
async def test_malformed_queries_are_refused(tmp_path: Path, changes: dict[str, Any], reason: str):
    window = pb.Window()
    window.start_time.FromNanoseconds(NOW_NS - 10**12)
    request = pb.QueryRangeRequest(**({"metric": "shop.orders", "window": window} | changes))
    async with metrics_service(tmp_path) as (channel, _):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await pb_grpc.MetricsServiceStub(channel).QueryRange(request)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    status = rpc_status.from_call(refused.value)
    info = error_details_pb2.ErrorInfo()
    assert status is not None
    assert status.details[0].Unpack(info)
    assert info.reason == reason

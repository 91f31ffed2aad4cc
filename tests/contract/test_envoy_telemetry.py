"""What a real Envoy sends over OTLP: its spans, and of its statistics those that matter, under our names."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

from servemesh.gateway.domain.snapshot.values import collector_at
from servemesh.observe import names
from tests.harness.edge import holding, running_edge
from tests.harness.oip_worker import oip_worker
from tests.harness.otlp_collector import service_of, serving_otlp, spans_of

TRACED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
WAIT_S = 15.0


def count_in(seen: Counter[tuple[str, str]], request: Any) -> None:
    """Add what sums grew by, and note gauges, by name and first label."""
    for resource in request.resource_metrics:
        assert service_of(resource.resource) == "servemesh-edge"
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.sum.data_points or metric.gauge.data_points:
                    label = point.attributes[0].value.string_value if point.attributes else ""
                    before = seen[metric.name, label] if metric.HasField("sum") else 0
                    seen[metric.name, label] = before + (point.as_int or round(point.as_double))


async def test_statuses_of_calls_and_spans_reach_the_collector(tmp_path: Path):
    seen: Counter[tuple[str, str]] = Counter()
    spans: list[dict[str, Any]] = []
    with serving_otlp(
        lambda request, _: count_in(seen, request),
        lambda request, _: spans.extend(spans_of(request)),
    ) as address:
        async with (
            running_edge(tmp_path, collector=collector_at(f"http://{address}")) as edge,
            oip_worker("w1") as worker,
        ):
            await edge.publish([holding(worker, models=["iris"])])
            await edge.until_answered_by("w1")
            for _ in range(3):
                await edge.infer(metadata=[("traceparent", TRACED)])
            async with asyncio.timeout(WAIT_S):
                while seen[names.ENVOY_CALLS.name, "OK"] < 3 or len(under_ours(spans)) < 3:
                    await asyncio.sleep(0.05)
    assert seen[names.ENVOY_WORKERS_HEALTHY.name, ""] == 2
    declared = {value.name for value in vars(names).values() if isinstance(value, names.Metric)}
    assert {name for name, _ in seen} <= declared
    assert {span["service"] for span in spans} == {"servemesh-edge"}


def under_ours(spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out what Envoy began to trace by itself."""
    return [span for span in spans if span["parent_id"] == TRACED.split("-")[2]]

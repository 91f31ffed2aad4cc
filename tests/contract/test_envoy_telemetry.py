"""What a real Envoy sends over OTLP: its spans, and of its statistics those that matter, under our names."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from servemesh.gateway.domain.snapshot.values import collector_at
from servemesh.observe import names
from tests.harness.edge import holding, running_edge
from tests.harness.oip_worker import oip_worker
from tests.harness.otlp_collector import service_of, serving_otlp, spans_of

TRACED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
WAIT_S = 15.0


def numbers_of(request: Any) -> dict[tuple[str, str], float]:
    """Return the values of counters and gauges by name and first label, of a request that says who sent it."""
    found = {}
    for resource in request.resource_metrics:
        assert service_of(resource.resource) == "servemesh-edge"
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                points = metric.sum.data_points or metric.gauge.data_points
                for point in points:
                    label = point.attributes[0].value.string_value if point.attributes else ""
                    found[metric.name, label] = point.as_int or point.as_double
    return found


async def test_statuses_of_calls_and_spans_reach_the_collector(tmp_path: Path):
    seen: dict[tuple[str, str], float] = {}
    spans: list[dict[str, Any]] = []
    with serving_otlp(
        lambda request, _: seen.update(numbers_of(request)),
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
                while seen.get((names.ENVOY_CALLS.name, "OK"), 0) < 3 or len(spans) < 3:
                    await asyncio.sleep(0.05)
    assert seen[names.ENVOY_WORKERS_HEALTHY.name, ""] == 2
    declared = {value.name for value in vars(names).values() if isinstance(value, names.Metric)}
    assert {name for name, _ in seen} <= declared
    assert {(span["service"], span["parent_id"]) for span in spans} == {
        ("servemesh-edge", TRACED.split("-")[2])
    }

"""Whatever snapshot is made, a real Envoy takes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, given, settings

from servemesh.gateway.domain.snapshot.values import Snapshot, collector_at
from tests.harness.edge import running_edge
from tests.harness.fleets import SNAPSHOTS


def some_snapshots(count: int) -> list[Snapshot]:
    made: list[Snapshot] = []

    @settings(max_examples=count, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(SNAPSHOTS)
    def make(snapshot: Snapshot) -> None:
        made.append(snapshot)

    make()
    return made


async def test_every_snapshot_is_accepted(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        for snapshot in some_snapshots(40):
            await edge.put(replace(snapshot, neighbours=edge.snapshot.neighbours))
        assert edge.refusals == []


async def test_tracing_is_accepted(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        collector = collector_at("http://127.0.0.1:4317")
        neighbours = replace(edge.snapshot.neighbours, trace_collector=collector)
        await edge.put(replace(edge.snapshot, neighbours=neighbours))
        assert edge.refusals == []


async def test_what_envoy_refuses_is_reported_with_its_reason(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        worker = replace(edge.snapshot.neighbours.edge, host="not-an-ip-address")
        bad = replace(edge.snapshot, neighbours=replace(edge.snapshot.neighbours, gateways=(worker,)))
        edge.publication.put(bad)
        await edge.until_refused()
        assert "not-an-ip-address" in edge.refusals[0].reason
        assert await edge.answered_by() == "gateway"

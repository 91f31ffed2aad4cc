"""What a fleet costs a real Envoy: fed by our own xDS server with endpoints that only say that they are well."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import psutil

from bench.scale import fleet, steering
from bench.scale.figures import Figure
from bench.scale.fleet import Size
from servemesh.gateway.adapters.xds_messages import tables_of
from servemesh.gateway.adapters.xds_subscriptions import PARTING_S
from servemesh.gateway.domain.snapshot.cutting import parts_of
from tests.harness.edge import Edge, running_edge
from tests.harness.processes import Child, accepts, free_ports

Answer = TypeVar("Answer")

HEALTHY_S, TAKEN_IN_S = 120.0, 300.0
IDLE_S = 5.0
POLL_S = 0.05


async def figures(size: Size, folder: Path) -> AsyncIterator[Figure]:
    """Time how Envoy takes in a whole fleet, and a small change to it."""
    (port,) = free_ports(1)
    workers = Child([sys.executable, "-m", "bench.scale.healthy", str(port)], log=folder / "healthy.log")
    workers.start()
    try:
        workers.wait_ready(lambda: accepts(port))
        async with running_edge(folder / "edge") as edge:
            async for figure in _figures(size, edge, port):
                yield figure
    finally:
        workers.stop()


async def _figures(size: Size, edge: Edge, port: int) -> AsyncIterator[Figure]:
    envoy = psutil.Process(edge.envoy.process.pid)
    seen = fleet.seen_fleet(size, port)
    before_bytes = envoy.memory_info().rss
    yield Figure(what="Envoy's memory with nothing to do", value=before_bytes / 1e6, unit="MB")
    took_s, used_s = await _taken_in(edge, envoy, seen)
    yield Figure(
        what="a whole fleet until Envoy works by it",
        value=took_s,
        unit="s",
        meaning=f"{used_s:.2f} s of Envoy's processor time",
    )
    start_s, used_s = time.monotonic(), _used_s(envoy)
    clusters = edge.snapshot.cuts[0]
    places = sum(len(part) for part in parts_of(edge.snapshot.endpoints or (), clusters))
    healthy = await _healthy(edge, places)
    yield Figure(
        what=f"until {healthy:,} of {places:,} places of workers, in {clusters} clusters, are found healthy",
        value=time.monotonic() - start_s,
        unit="s",
        meaning=f"{_used_s(envoy) - used_s:.2f} s of Envoy's processor time; given {HEALTHY_S:g} s at most",
    )
    memory_bytes = envoy.memory_info().rss
    yield Figure(what="Envoy's memory with the whole fleet", value=memory_bytes / 1e6, unit="MB")
    await asyncio.sleep(PARTING_S)  # the one cluster that was there before has left then
    idle_s, failed = _used_s(envoy), _failed_checks(edge)
    await asyncio.sleep(IDLE_S)
    yield Figure(
        what="health checks of all workers by one Envoy",
        value=(_used_s(envoy) - idle_s) / IDLE_S * 100,
        unit="% of a core",
        meaning=f"{places * steering.CHECKS_PER_S:,.0f} checks a second, one connection for each place of a worker; "
        f"{_failed_checks(edge) - failed} failed",
    )
    took_s, used_s = await _taken_in(edge, envoy, steering.with_one_change(seen))
    yield Figure(
        what="a change of one slot until Envoy works by it",
        value=took_s * 1e3,
        unit="ms",
        meaning=f"{used_s * 1e3:.0f} ms of Envoy's processor time",
    )


async def _taken_in(edge: Edge, envoy: psutil.Process, seen: fleet.seen.Fleet) -> tuple[float, float]:
    """Publish a fleet; return the seconds until it is in force, and those of Envoy's processor time."""
    start_s, used_s = time.monotonic(), _used_s(envoy)
    made = steering.snapshot(seen)
    made = replace(edge.snapshot, endpoints=made.endpoints, cuts=made.cuts)
    edge.publication.put(made)
    versions, known = {table.version for table in tables_of(made).values()}, set[str]()
    async with asyncio.timeout(TAKEN_IN_S):
        while not versions <= known:
            await asyncio.sleep(POLL_S)
            known = await _patiently(edge.envoy.versions, set())
    return time.monotonic() - start_s, _used_s(envoy) - used_s


async def _healthy(edge: Edge, wanted: int) -> int:
    """Wait until Envoy has found so many workers healthy, or too long; return how many it has."""
    until_s, found = time.monotonic() + HEALTHY_S, 0
    while found < wanted and time.monotonic() < until_s:
        await asyncio.sleep(POLL_S)
        found = await _patiently(lambda: _places(edge), found)
    return found


def _places(edge: Edge) -> int:
    """Count the places of workers that are healthy; the gateway has one in each cluster."""
    lines = edge.envoy.page("/stats?filter=^cluster.workers.*membership_healthy$").splitlines()
    return sum(int(line.rpartition(":")[2]) for line in lines) - len(lines)


def _failed_checks(edge: Edge) -> int:
    lines = edge.envoy.page("/stats?filter=^cluster.workers.*health_check.failure$").splitlines()
    return sum(int(line.rpartition(":")[2]) for line in lines)


async def _patiently(ask: Callable[[], Answer], otherwise: Answer) -> Answer:
    """Ask Envoy's admin interface, which does not answer while its main thread has work to do."""
    try:
        return await asyncio.to_thread(ask)
    except OSError:
        return otherwise


def _used_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)

"""Workers, gateways and Envoys that come and go behind one public address."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from servemesh.gateway.domain.snapshot.policy import EdgePolicy, Health
from servemesh.rpc.statuses import from_rpc_error
from tests.harness.edge import Edge, holding, running_edge
from tests.harness.oip_worker import LONG_BYTES, oip_worker
from tests.harness.processes import Child, accepts, free_ports


@contextmanager
def worker_processes(folder: Path, count: int) -> Iterator[list[tuple[str, Child]]]:
    """Run workers in processes of their own, so that they can be killed."""
    root = Path(__file__).parents[2]
    workers = []
    try:
        for port in free_ports(count):
            address = f"127.0.0.1:{port}"
            command = [sys.executable, "-m", "tests.harness.oip_worker", worker_name(address), address]
            child = Child(command, log=folder / f"{port}.log", cwd=root, env=os.environ)
            child.start()
            workers.append((address, child, port))
        for _, child, port in workers:
            child.wait_ready(lambda port=port: accepts(port))  # type: ignore[misc]
        yield [(address, child) for address, child, _ in workers]
    finally:
        for _, child, _ in workers:
            if child.is_running:
                child.kill()


def worker_name(address: str) -> str:
    """Return what the worker at an address calls itself."""
    return f"worker-{address.rpartition(':')[2]}"


class Load:
    """Calls at a steady rate; counts how they ended."""

    def __init__(self, edge: Edge, *, interval_s: float) -> None:
        self._edge = edge
        self._interval_s = interval_s
        self.done = 0
        self.failures: list[str] = []

    async def run(self, calls: int) -> None:
        """Make that many calls and wait for all of them."""
        async with asyncio.TaskGroup() as group:
            for _ in range(calls):
                group.create_task(self._call())
                await asyncio.sleep(self._interval_s)

    async def _call(self) -> None:
        try:
            await self._edge.infer(timeout_s=15)
        except grpc.aio.AioRpcError as error:
            self.failures.append(f"{error.code()}: {error.details()}")
        self.done += 1

    async def until_done(self, calls: int) -> None:
        """Wait until so many calls have ended."""
        while self.done < calls:
            await asyncio.sleep(0.01)


async def test_no_call_fails_while_workers_are_killed_and_stopped(tmp_path: Path) -> None:
    with worker_processes(tmp_path, 3) as workers:
        async with running_edge(tmp_path) as edge, asyncio.timeout(40):
            await edge.publish([holding(address, models=["iris"]) for address, _ in workers])
            await edge.until_healthy(4)
            load = Load(edge, interval_s=0.005)
            async with asyncio.TaskGroup() as group:
                group.create_task(load.run(600))
                await load.until_done(100)
                await asyncio.to_thread(workers[0][1].kill)
                await load.until_done(250)
                workers[1][1].send(signal.SIGSTOP)
                await load.until_done(450)
                workers[1][1].send(signal.SIGCONT)
            assert load.failures == []
            assert load.done == 600


async def half_answered(folder: Path, kind: str) -> tuple[str, list[str]]:
    """Return who answers a call whose first worker dies in the middle of its answer, and the names of both."""
    received = "cluster.workers.upstream_cx_rx_bytes_total"
    with worker_processes(folder, 2) as ((one, child), (two, _)):
        async with running_edge(folder) as edge, asyncio.timeout(40):
            await edge.publish([holding(one, models=["iris"])])
            await edge.until_healthy(2)
            call = asyncio.create_task(edge.answered_by(id=f"{kind} {worker_name(one)}", timeout_s=20))
            while await asyncio.to_thread(edge.envoy.stat, received) < LONG_BYTES:
                assert not call.done()
            await edge.publish([holding(address, models=["iris"]) for address in (one, two)])
            await edge.until_healthy(3)
            await asyncio.to_thread(child.kill)
            return await call, [worker_name(one), worker_name(two)]


async def test_a_worker_that_dies_in_the_middle_of_an_answer_costs_the_caller_nothing(tmp_path: Path) -> None:
    who, (_, other) = await half_answered(tmp_path, "half")
    assert who == other


async def test_an_answer_too_long_to_be_held_is_passed_on_as_it_comes(tmp_path: Path) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as broken:
        await half_answered(tmp_path, "long half")
    assert broken.value.code() is grpc.StatusCode.INTERNAL
    assert from_rpc_error(broken.value).reason == "ANSWER_BROKEN_OFF"
    assert not any(key.startswith("x-servemesh") for key, _ in broken.value.initial_metadata())


async def test_a_slot_is_routed_once_it_is_published_and_not_before(tmp_path: Path) -> None:
    async with oip_worker("one") as one, running_edge(tmp_path) as edge:
        await edge.publish([holding(one)])
        await edge.until_healthy(2)
        assert await edge.answered_by() == "gateway"
        await edge.publish([holding(one, models=["iris"])])
        assert await edge.answered_by() == "one"


async def test_a_worker_that_is_not_serving_gets_no_calls(tmp_path: Path) -> None:
    async with oip_worker("one") as one, oip_worker("two") as two, running_edge(tmp_path) as edge:
        await edge.publish([holding(worker, models=["iris"]) for worker in (one, two)])
        await edge.until_healthy(3)
        one.health.set("", False)
        await edge.until_healthy(2)
        assert {await edge.answered_by() for _ in range(10)} == {"two"}


async def test_a_draining_worker_finishes_its_calls_and_gets_no_new_ones(tmp_path: Path) -> None:
    async with oip_worker("one") as one, oip_worker("two") as two, running_edge(tmp_path) as edge:
        await edge.publish([holding(one, models=["iris"])])
        await edge.until_healthy(2)
        async with asyncio.TaskGroup() as group:
            under_way = group.create_task(edge.answered_by(id="wait"))
            await one.waiting.wait()
            await edge.publish([holding(two, models=["iris"])])
            await edge.until_answered_by("two")
            assert {await edge.answered_by() for _ in range(10)} == {"two"}
            one.release.set()
        assert under_way.result() == "one"


async def test_without_its_gateway_envoy_goes_on(tmp_path: Path) -> None:
    async with oip_worker("one") as one, running_edge(tmp_path) as edge:
        await edge.publish([holding(one, models=["iris"])])
        await edge.until_healthy(2)
        await edge.control.aclose()
        await edge.gateway.stop()
        await edge.until_healthy(1)
        assert {await edge.answered_by() for _ in range(20)} == {"one"}


async def test_an_envoy_that_restarts_without_its_gateway_goes_on(tmp_path: Path) -> None:
    async with oip_worker("one") as one, running_edge(tmp_path) as edge:
        await edge.publish([holding(one, models=["iris"])])
        await edge.until_healthy(2)
        await edge.control.aclose()
        await asyncio.to_thread(edge.envoy.process.kill)
        await asyncio.to_thread(edge.envoy.start)
        assert await edge.answered_by(timeout_s=20) == "one"


async def test_a_gateway_that_is_back_steers_the_envoy_that_restarted_without_it(tmp_path: Path) -> None:
    async with oip_worker("one") as one, oip_worker("two") as two, running_edge(tmp_path) as edge:
        await edge.publish([holding(one, models=["iris"])])
        await edge.control.aclose()
        await asyncio.to_thread(edge.envoy.process.kill)
        await asyncio.to_thread(edge.envoy.start)
        assert await edge.answered_by(timeout_s=20) == "one"
        await edge.start_control()
        await edge.publish([holding(two, models=["iris"])])
        await edge.until_answered_by("two")


async def test_a_restarted_envoy_gets_everything_from_its_gateway_at_once(tmp_path: Path) -> None:
    async with oip_worker("one") as one, running_edge(tmp_path) as edge:
        await edge.publish([holding(one, models=["iris"])])
        await asyncio.to_thread(edge.envoy.process.kill)
        await asyncio.to_thread(edge.envoy.start)
        assert await edge.answered_by(timeout_s=10) == "one"
        assert await asyncio.to_thread(edge.envoy.stat, "cluster.xds-last-known.upstream_rq_total") == 0


async def test_a_gateway_that_knows_nothing_yet_takes_nothing_away(tmp_path: Path) -> None:
    async with oip_worker("one") as one, running_edge(tmp_path) as edge:
        await edge.publish([holding(one, models=["iris"])])
        await edge.until_healthy(2)
        await edge.know_nothing()
        assert {await edge.answered_by() for _ in range(10)} == {"one"}


async def test_a_worker_that_cannot_be_reached_is_ejected_before_its_health_is_checked(
    tmp_path: Path,
) -> None:
    policy = EdgePolicy(health=Health(check_interval_s=60.0))
    async with oip_worker("one") as one, running_edge(tmp_path, policy) as edge:
        async with oip_worker("two") as two:
            await edge.publish([holding(worker, models=["iris"]) for worker in (one, two)])
            await edge.until_healthy(3)
        ejections = "cluster.workers.outlier_detection.ejections_enforced_consecutive_local_origin_failure"
        async with asyncio.timeout(10):
            while await asyncio.to_thread(edge.envoy.stat, ejections) == 0:
                assert await edge.answered_by() == "one"

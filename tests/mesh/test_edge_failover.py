"""Services that stand more than once, behind a real Envoy: the first registry that serves, any gateway that serves."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.gateway.adapters.snapshot_file import BOOTSTRAP_FILE
from servemesh.gateway.adapters.xds_bootstrap import Start, bootstrap_json
from servemesh.gateway.domain.snapshot.values import Address, parse_address
from tests.harness.edge import Edge, running_edge
from tests.harness.envoy import running_envoy
from tests.harness.oip_worker import OipWorker, oip_worker
from tests.harness.processes import free_ports
from tests.harness.waiting import blocking_until, eventually

REGISTRY = "servemesh.api.registry.v1.RegistryService"


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    async with running_edge(tmp_path) as running:
        yield running


@pytest.fixture
async def registries(edge: Edge) -> AsyncIterator[list[OipWorker]]:
    async with AsyncExitStack() as stack:
        started = [await stack.enter_async_context(oip_worker(name)) for name in ("first", "second")]
        addresses = tuple(parse_address(registry.address) for registry in started)
        # Not in the order of their ports: the order is the one that the gateway was told.
        named = sorted(zip(addresses, started, strict=True), key=lambda pair: pair[0], reverse=True)
        listed = tuple(address for address, _ in named)
        await edge.put(
            replace(edge.snapshot, neighbours=replace(edge.snapshot.neighbours, registries=listed))
        )
        yield [registry for _, registry in named]


async def answered_by(edge: Edge) -> str:
    call = edge.channel.unary_unary(
        f"/{REGISTRY}/ModelInfer",
        request_serializer=pb.ModelInferRequest.SerializeToString,
        response_deserializer=pb.ModelInferResponse.FromString,
    )
    answer = await call(pb.ModelInferRequest(model_name="m"), timeout=5, wait_for_ready=True)
    return str(answer.id)


async def until_answered_by(edge: Edge, registry: OipWorker) -> None:
    async def is_it() -> bool:
        return await answered_by(edge) == registry.name

    async with asyncio.timeout(10):
        while not await is_it():
            pass


async def test_calls_go_to_the_first_registry_and_to_no_other(edge: Edge, registries: list[OipWorker]):
    await until_answered_by(edge, registries[0])
    assert {await answered_by(edge) for _ in range(20)} == {registries[0].name}


async def test_while_the_first_one_does_not_serve_they_go_to_the_second(
    edge: Edge, registries: list[OipWorker]
):
    first, second = registries
    await until_answered_by(edge, first)
    first.health.set("", False)
    await until_answered_by(edge, second)
    first.health.set("", True)
    await until_answered_by(edge, first)


async def test_a_gateway_that_does_not_serve_is_asked_nothing(edge: Edge):
    async with oip_worker("gateway-2") as other:
        gateways = (*edge.snapshot.neighbours.gateways, parse_address(other.address))
        await edge.put(
            replace(edge.snapshot, neighbours=replace(edge.snapshot.neighbours, gateways=gateways))
        )
        await eventually(lambda: edge.envoy.stat("cluster.gateway.membership_healthy") == 2)
        edge.gateway.health.set("", False)
        await eventually(lambda: edge.envoy.stat("cluster.gateway.membership_healthy") == 1)
        assert {await edge.answered_by() for _ in range(10)} == {"gateway-2"}


async def test_the_window_shows_readiness_and_metrics_and_nothing_else(tmp_path: Path):
    admin_port, window_port, gateway_port = free_ports(3)
    start = Start(
        node_id="edge",
        admin=Address(host="127.0.0.1", port=admin_port),
        gateways=[Address(host="127.0.0.1", port=gateway_port)],
        last_known_path=tmp_path / "tables",
        heap_bytes_max=1 << 30,
        connections_max=100,
        metrics=Address(host="127.0.0.1", port=window_port),
    )
    (tmp_path / BOOTSTRAP_FILE).write_text(bootstrap_json(start))
    with running_envoy(tmp_path / BOOTSTRAP_FILE, admin_port=admin_port):
        await asyncio.to_thread(_check_window, f"http://127.0.0.1:{window_port}")


def _check_window(url: str) -> None:
    blocking_until(lambda: _status(f"{url}/stats/prometheus") == 200, 10, "the window is open")
    assert _status(f"{url}/ready") in (200, 503)
    assert _status(f"{url}/config_dump") == 404
    assert _status(f"{url}/quitquitquit", method="POST") == 404
    assert _status(f"{url}/ready", method="POST") == 404


def _status(url: str, method: str = "GET") -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0

"""The probe of the containers' health checks understands every server of ours."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from servemesh.observe import endpoint
from servemesh.rpc import probe
from servemesh.rpc.health import Health
from servemesh.rpc.server import Backend, serving
from tests.harness.processes import free_ports


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture(params=list(Backend), ids=lambda backend: backend.value)
async def address(request: pytest.FixtureRequest, health: Health) -> AsyncIterator[str]:
    async with serving("127.0.0.1:0", [], health=health, backend=request.param, grace_s=0.1) as bound:
        yield bound


async def test_a_server_that_serves_is_found_serving(address: str, health: Health):
    health.set("", True)
    assert await asyncio.to_thread(probe.is_serving, address)


async def test_a_server_that_does_not_serve_yet_is_not(address: str):
    assert not await asyncio.to_thread(probe.is_serving, address)


async def test_the_program_ends_with_0_where_it_serves(address: str, health: Health):
    health.set("", True)
    assert await asyncio.to_thread(exit_status, address) == 0


def test_the_program_ends_with_1_where_nobody_listens():
    assert exit_status(f"127.0.0.1:{free_ports(1)[0]}") == 1


def test_the_program_ends_with_64_without_an_address():
    assert exit_status() == probe.EXIT_USAGE


def test_a_url_is_asked_for_by_http():
    with endpoint.exposing("127.0.0.1:0", lambda: 0.0) as http_address:
        assert probe.is_answered(f"http://{http_address}/healthz")
        assert not probe.is_answered(f"http://{http_address}/nowhere")


def exit_status(*arguments: str) -> int:
    command = [sys.executable, "-m", "servemesh.rpc.probe", *arguments]
    return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode

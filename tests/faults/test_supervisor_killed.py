"""The mesh as a whole is killed, its supervisor or its command, or ended: it comes back as it was, unasked."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from examples.demo.mesh import DemoMesh
from servemesh.client import Client
from tests.harness.faults import FaultMesh, is_alive
from tests.harness.steady_load import SteadyLoad
from tests.harness.waiting import blocking_until

MODEL = "net"
GONE_S = 20.0


def kill_supervisor(mesh: FaultMesh) -> None:
    os.kill(mesh.supervisor_pid, signal.SIGKILL)


def kill_command(mesh: FaultMesh) -> None:
    os.kill(mesh.mesh.pid, signal.SIGKILL)


def interrupt(mesh: FaultMesh) -> None:
    os.kill(mesh.mesh.pid, signal.SIGINT)


ENDINGS: dict[str, Callable[[FaultMesh], None]] = {
    "kill -9 of the supervisor": kill_supervisor,
    "kill -9 of `servemesh up`": kill_command,
    "Ctrl-C": interrupt,
}


@pytest.mark.timeout(180)
def test_nothing_is_left_running_and_everything_comes_back(tmp_path: Path, net: Path) -> None:
    folder = tmp_path / "mesh"
    with DemoMesh(folder, workers=2) as mesh, Client(mesh.address) as client:
        client.push(MODEL, net)
        client.set_alias(MODEL, "prod", 1)
        client.deploy(MODEL, version="prod", wait_s=60)
        check_ending("kill -9 of the supervisor", mesh, net)
    for ending in ("kill -9 of `servemesh up`", "Ctrl-C"):
        with DemoMesh(folder, workers=2) as mesh:
            check_ending(ending, mesh, net)
    with DemoMesh(folder, workers=2) as mesh:
        check_served(mesh, net)


def check_ending(ending: str, mesh: DemoMesh, net: Path) -> None:
    check_served(mesh, net)
    seen = FaultMesh(mesh)
    pids = seen.pids
    start_s = time.monotonic()
    ENDINGS[ending](seen)
    blocking_until(lambda: not any(is_alive(pid) for pid in pids), GONE_S, "nothing is left running")
    print(f"{ending}: nothing was left running after {time.monotonic() - start_s:.1f} s")


def check_served(mesh: DemoMesh, net: Path) -> None:
    """What was deployed answers from the first moment, and what was said is known."""
    with SteadyLoad(mesh.address, MODEL, net) as load, load.unharmed_by("a mesh that has just started"):
        load.until_answered(50)
    with Client(mesh.address) as client:
        assert client.alias(MODEL, "prod").version == 1
        assert [version.version for version in client.versions(MODEL)] == [1]
        assert [found.model for found in client.deployments()] == [MODEL]

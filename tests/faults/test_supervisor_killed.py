"""The mesh as a whole is killed, by its command or its supervisor: it comes back as it was, unasked."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from examples.demo.mesh import DemoMesh
from servemesh.client import Client
from tests.harness.faults import FaultMesh, is_alive
from tests.harness.steady_load import SteadyLoad
from tests.harness.waiting import blocking_until

MODEL = "net"
# The object store alone takes up to 12 s to end, and the supervisor gives everybody a minute.
GONE_S = 60.0


@pytest.mark.timeout(360)
def test_nothing_is_left_running_and_everything_comes_back(tmp_path: Path, net: Path) -> None:
    folder = tmp_path / "mesh"
    with DemoMesh(folder, workers=1) as mesh:
        with Client(mesh.address) as client:
            client.push(MODEL, net)
            client.set_alias(MODEL, "prod", 1)
            client.deploy(MODEL, version="prod", wait_s=60)
        end(mesh, mesh.pid, "kill -9 of `servemesh up`")
    with DemoMesh(folder, workers=1) as mesh:
        check_served(mesh, net)
        end(mesh, FaultMesh(mesh).supervisor_pid, "kill -9 of the supervisor")
    with DemoMesh(folder, workers=1) as mesh:
        check_served(mesh, net)


def end(mesh: DemoMesh, victim: int, ending: str) -> None:
    pids = FaultMesh(mesh).pids
    start_s = time.monotonic()
    os.kill(victim, signal.SIGKILL)
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

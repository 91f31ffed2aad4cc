"""What is not on the way of a call fails: loaded models go on answering, and what restarts finds its way."""

from __future__ import annotations

import time

import numpy as np
import pytest

from servemesh.client import Client
from tests.faults.conftest import MODEL
from tests.harness.faults import CONTROL, FaultMesh
from tests.harness.steady_load import SteadyLoad

STORES = ("registry", "nats", "weed")
CALLS_WHILE_AWAY = 150
SDK_CALLS = 20
ROW = {"x": np.zeros((1, 512), np.float32)}


@pytest.mark.parametrize("name", CONTROL)
def test_a_killed_part_fails_no_call(fault_mesh: FaultMesh, load: SteadyLoad, name: str) -> None:
    with load.unharmed_by(f"kill -9 of {name}"):
        fault_mesh.until_back(fault_mesh.kill(name))
        load.until_answered(30)


def test_all_control_parts_killed_together_fail_no_call(fault_mesh: FaultMesh, load: SteadyLoad) -> None:
    with load.unharmed_by(f"kill -9 of {', '.join(CONTROL)} together"):
        fault_mesh.until_back(fault_mesh.kill(*CONTROL))
        fault_mesh.until_whole()


def test_a_killed_envoy_is_back_soon_and_the_sdk_goes_on(fault_mesh: FaultMesh, load: SteadyLoad) -> None:
    with Client(fault_mesh.address) as client:
        client.infer(MODEL, ROW)
        with load.cut_off_by("kill -9 of envoy"):
            gone = fault_mesh.kill("envoy")
            start_s = time.monotonic()
            for _ in range(SDK_CALLS):
                client.infer(MODEL, ROW)
            print(f"the SDK's {SDK_CALLS} calls took {time.monotonic() - start_s:.1f} s")
            fault_mesh.until_back(gone)


@pytest.mark.timeout(120)
def test_with_all_control_parts_frozen_workers_and_envoy_restart_and_serve(
    fault_mesh: FaultMesh, load: SteadyLoad
) -> None:
    with fault_mesh.stopped(*CONTROL):
        with load.unharmed_by(f"SIGSTOP of {', '.join(CONTROL)}"):
            load.until_answered(CALLS_WHILE_AWAY)
        with load.unharmed_by("kill -9 of worker-2 with all control parts frozen"):
            fault_mesh.until_back(fault_mesh.kill("worker-2"))
            fault_mesh.until_taking_calls("worker-2")
        with load.cut_off_by("kill -9 of envoy with all control parts frozen"):
            fault_mesh.until_back(fault_mesh.kill("envoy"))
        fault_mesh.until_taking_calls(*fault_mesh.workers)
    with load.unharmed_by("SIGCONT of all control parts"):
        fault_mesh.until_whole()
        load.until_answered(30)


@pytest.mark.timeout(120)
def test_with_the_stores_frozen_a_worker_the_gateway_and_envoy_restart_and_serve(
    fault_mesh: FaultMesh, load: SteadyLoad
) -> None:
    with fault_mesh.stopped(*STORES):
        with load.unharmed_by("kill -9 of worker-1 with registry, nats and weed frozen"):
            fault_mesh.until_back(fault_mesh.kill("worker-1"))
            fault_mesh.until_taking_calls("worker-1")
        with load.unharmed_by("kill -9 of the gateway with registry, nats and weed frozen"):
            fault_mesh.until_back(fault_mesh.kill("gateway"))
            load.until_answered(CALLS_WHILE_AWAY)
        with load.cut_off_by("kill -9 of envoy with registry, nats and weed frozen"):
            fault_mesh.until_back(fault_mesh.kill("envoy"))
        fault_mesh.until_taking_calls(*fault_mesh.workers)
    with load.unharmed_by("SIGCONT of registry, nats and weed"):
        fault_mesh.until_whole()
        load.until_answered(30)

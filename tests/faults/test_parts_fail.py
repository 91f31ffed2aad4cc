"""What is not on the way of a call fails: loaded models go on answering, and what restarts finds its way."""

from __future__ import annotations

import signal
import time

import numpy as np
import pytest

from servemesh.client import Client
from tests.faults.conftest import MODEL
from tests.harness.faults import COLLECTOR, CONTROL, FaultMesh, lasting
from tests.harness.marks import Marks
from tests.harness.steady_load import SteadyLoad
from tests.harness.waiting import blocking_until

STORES = ("registry", "nats", "weed")
CALLS_WHILE_AWAY = 150
AWAY_S = lasting(4, 600)
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


@pytest.mark.timeout(240)
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


@pytest.mark.timeout(150 + AWAY_S)
def test_with_stores_and_collector_frozen_loaded_models_are_served_and_what_restarts_serves_them(
    fault_mesh: FaultMesh, load: SteadyLoad, marks: Marks
) -> None:
    start_s, before = time.monotonic(), load.figures()
    with fault_mesh.stopped(*STORES, COLLECTOR):
        blocking_until(lambda: time.monotonic() > start_s + AWAY_S, AWAY_S + 1)
        away = load.figures(start_s)
        gone = fault_mesh.kill("worker-1")
        fault_mesh.until_back(gone)
        fault_mesh.until_taking_calls("worker-1")
        told = fault_mesh.kill("worker-2", number=signal.SIGTERM)
        ended_s = fault_mesh.until_ended(told)
        fault_mesh.until_back(told)
        fault_mesh.until_taking_calls("worker-2")
        gone = fault_mesh.kill("gateway", number=signal.SIGTERM)
        gateway_ended_s = fault_mesh.until_ended(gone)
        fault_mesh.until_back(gone)
        load.until_answered(CALLS_WHILE_AWAY)
        load.until_all_ended()
        during = load.figures(start_s)
        with load.cut_off_by("kill -9 of envoy with registry, nats, weed and collector frozen"):
            fault_mesh.until_back(fault_mesh.kill("envoy"))
        fault_mesh.until_taking_calls(*fault_mesh.workers)
    with load.unharmed_by("SIGCONT of registry, nats, weed and collector"):
        fault_mesh.until_whole()
        load.until_answered(30)
    print(f"registry, NATS, S3 and collector frozen: {during}; {during.faults[:5]}")
    what = f"failed of {during.calls} calls, registry, NATS, S3 and collector away for {AWAY_S:g} s"
    marks.must("R17", what, len(during.faults), at_most=0)
    marks.told("R17", "p99 while they are away ÷ before", away.p99_s / before.p99_s, at_most=1.1)
    marks.told("R17", "a worker that is told to end has ended after", ended_s, unit="s", at_most=5)
    marks.told("R17", "so has the gateway", gateway_ended_s, unit="s", at_most=5)

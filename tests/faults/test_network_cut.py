"""The network between Envoy and one worker is cut, both ways or one way, and heals: no caller notices."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from servemesh.client import Client
from tests.faults.conftest import MODEL, WORKERS
from tests.harness.absence import Absence
from tests.harness.fault_proxy import FaultProxy
from tests.harness.faults import FaultMesh, lasting
from tests.harness.marks import Marks
from tests.harness.processes import Child, free_ports
from tests.harness.steady_load import SteadyLoad

CUT_S = lasting(2.5, 30)
VOLLEY = 48
WAYS = {
    "both ways": {"inward": True, "outward": True},
    "towards the worker": {"inward": True},
    "from the worker": {"outward": True},
}


@pytest.mark.timeout(120 + 3 * CUT_S)
def test_a_network_that_is_cut_and_heals_fails_no_call(
    fault_mesh: FaultMesh, load: SteadyLoad, marks: Marks, tmp_path: Path
) -> None:
    with far_worker(fault_mesh, tmp_path) as proxy:
        for way, ends in WAYS.items():
            fault_mesh.until_answered_by(proxy.address)
            start_s = time.monotonic()
            load.send(VOLLEY)
            with proxy.cut(**ends):
                absence = Absence(fault_mesh, proxy.address)
                absence.look_for(CUT_S)
            back_s = absence.until_answers()
            load.until_all_ended()
            during = load.figures(start_s)
            print(f"cut {way} for {CUT_S:g} s: {during}; {during.faults[:5]}")
            what = f"failed of {during.calls} calls, the network to a worker cut {way} for {CUT_S:g} s"
            marks.must("R07", what, len(during.faults), at_most=0)
            last_s = absence.last_call_s
            marks.told("R07", f"last call sent to it, after the cut {way}", last_s, unit="s", at_most=2)
            marks.told("R07", f"it answers calls again, once healed ({way})", back_s, unit="s", at_most=3)


@contextlib.contextmanager
def far_worker(fault_mesh: FaultMesh, folder: Path) -> Iterator[FaultProxy]:
    """Give the way to one more worker of the mesh, which holds the model too for the length of the block."""
    address, metrics_address = (f"127.0.0.1:{port}" for port in free_ports(2))
    with FaultProxy(address) as proxy, contextlib.ExitStack() as stack:
        settings = {
            "INSTANCE": "far",
            "ADDRESS": address,
            "METRICS_ADDRESS": metrics_address,
            "ADVERTISE_ADDRESS": proxy.address,
            "CACHE_DIR": str(folder / "cache"),
        }
        environment = psutil.Process(fault_mesh.processes["worker-1"]["pid"]).environ()
        environment |= {f"SERVEMESH_WORKER_{name}": value for name, value in settings.items()}
        command = [sys.executable, "-P", "-m", "servemesh.worker.main"]
        far = Child(command, log=folder / "log", env=environment)
        far.start()
        stack.callback(far.stop)
        client = stack.enter_context(Client(fault_mesh.address))
        client.deploy(MODEL, replicas=WORKERS + 1, wait_s=30)
        yield proxy
        client.deploy(MODEL, replicas=WORKERS, wait_s=30)

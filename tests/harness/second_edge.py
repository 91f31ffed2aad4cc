"""A second gateway of a mesh with an Envoy of its own, as on another machine."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from servemesh.gateway.adapters.snapshot_file import BOOTSTRAP_FILE
from tests.harness.envoy import Envoy, running_envoy
from tests.harness.faults import FaultMesh
from tests.harness.processes import Child, free_ports
from tests.harness.waiting import blocking_until

READY_S = 20.0
HEALTHY = "cluster.workers.membership_healthy"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondEdge:
    """Where it takes calls, and its Envoy."""

    address: str
    envoy: Envoy
    endpoints: int

    def until_whole(self) -> None:
        """Wait until its Envoy has found every worker and both gateways healthy."""
        blocking_until(
            lambda: self.envoy.stat(HEALTHY) >= self.endpoints, READY_S, "the second edge is whole"
        )


@contextlib.contextmanager
def second_edge(mesh: FaultMesh, folder: Path) -> Iterator[SecondEdge]:
    """Run one for the length of the block."""
    *ports, admin_port = free_ports(5)
    own, xds, edge, metrics = (f"127.0.0.1:{port}" for port in ports)
    settings = {
        "INSTANCE": "gateway-2",
        "ADDRESS": own,
        "ADVERTISE_ADDRESS": own,
        "XDS_ADDRESS": xds,
        "METRICS_ADDRESS": metrics,
        "EDGE_ADDRESS": edge,
        "ENVOY_ADMIN_ADDRESS": f"127.0.0.1:{admin_port}",
        "STATE_DIR": str(folder),
        "PEERS": mesh.address_of("gateway"),
    }
    environment = psutil.Process(mesh.processes["gateway"]["pid"]).environ()
    environment |= {f"SERVEMESH_GATEWAY_{name}": value for name, value in settings.items()}
    command = [sys.executable, "-P", "-m", "servemesh.gateway.main"]
    gateway = Child(command, log=folder / "gateway.log", env=environment)
    gateway.start()
    try:
        gateway.wait_ready((folder / BOOTSTRAP_FILE).exists)
        with running_envoy(folder / BOOTSTRAP_FILE, admin_port=admin_port) as envoy:
            second = SecondEdge(address=edge, envoy=envoy, endpoints=len(mesh.workers) + 2)
            second.until_whole()
            yield second
    finally:
        gateway.stop()

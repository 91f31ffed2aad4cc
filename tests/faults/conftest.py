"""One real mesh of three workers under a steady load, to be broken and to heal again and again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.demo.mesh import DemoMesh
from servemesh.client import Client
from tests.harness import models
from tests.harness.faults import FaultMesh
from tests.harness.marks import Marks
from tests.harness.otlp_collector import running_collector
from tests.harness.processes import Child
from tests.harness.steady_load import SteadyLoad

WORKERS = 3
MODEL = "net"
DEPLOY_S = 60.0
SETTINGS = {
    "SERVEMESH_LOCAL_RESTART_DELAY_S_MAX": "0.5",  # nowhere else do processes die as often as here
    "SERVEMESH_WORKER_STOP_WAIT_S": "2",
    "SERVEMESH_WORKER_PROCESS_MEMORY_BYTES_MAX": str(3 << 30),
}
FIGURES_FILE = "SERVEMESH_FAULTS_FIGURES"
MARKS = pytest.StashKey[Marks]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin to take figures."""
    config.stash[MARKS] = Marks()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the figures; write them to the file that the environment names, if it does."""
    marks = config.stash[MARKS]
    if marks.figures:
        terminalreporter.section("figures of the faults (in brackets: where they must be)")
        for figure in sorted(marks.figures, key=lambda figure: figure.check):
            terminalreporter.write_line(str(figure))
    if FIGURES_FILE in os.environ:
        marks.save(Path(os.environ[FIGURES_FILE]))


@pytest.fixture(scope="session")
def marks(request: pytest.FixtureRequest) -> Marks:
    """Takes the figures of this run."""
    return request.config.stash[MARKS]


@pytest.fixture(scope="session")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes long enough for calls to be caught in the middle of a batch."""
    return models.saved(models.mlp(width=512), tmp_path_factory.mktemp("net"))


@pytest.fixture(scope="session")
def fault_mesh(tmp_path_factory: pytest.TempPathFactory, net: Path) -> Iterator[FaultMesh]:
    """A mesh that serves `net` on every worker. Tests break it, and wait until it has healed."""
    folder = tmp_path_factory.mktemp("fault-mesh")
    with running_collector(folder) as collector:
        settings = SETTINGS | {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
        os.environ.update(settings)
        with DemoMesh(folder / "data", workers=WORKERS) as mesh:
            for name in settings:
                del os.environ[name]
            Child.shared_pids.add(mesh.pid)
            with Client(mesh.address) as client:
                client.push(MODEL, net)
                client.deploy(MODEL, replicas=WORKERS, wait_s=DEPLOY_S)
            yield FaultMesh(mesh, collector_pid=collector.pid)


@pytest.fixture
def load(fault_mesh: FaultMesh, net: Path) -> Iterator[SteadyLoad]:
    """Calls at a steady rate, all answered by all workers before the test begins."""
    with SteadyLoad(fault_mesh.address, MODEL, net) as load:
        fault_mesh.until_taking_calls(*fault_mesh.workers)
        load.until_answered(50)
        yield load

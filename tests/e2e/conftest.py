"""One mesh, started as a user starts it, for all tests here that do not break it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.demo import models
from examples.demo.mesh import DemoMesh
from servemesh.client import Client
from tests.harness.processes import Child

WORKERS = 2


@pytest.fixture(scope="session")
def digits() -> models.Digits:
    """The digit classifier, trained once."""
    return models.trained_digits()


@pytest.fixture(scope="session")
def user_mesh(tmp_path_factory: pytest.TempPathFactory, digits: models.Digits) -> Iterator[DemoMesh]:
    """A mesh that serves `digits` and that all tests share: do not break it."""
    with DemoMesh(tmp_path_factory.mktemp("mesh"), workers=WORKERS) as mesh:
        Child.shared_pids.add(mesh.pid)
        with Client(mesh.address) as client:
            client.push("digits", digits.model)
            client.deploy("digits", wait_s=60)
        yield mesh


@pytest.fixture(params=["mesh", "worker"])
def oip_address(request: pytest.FixtureRequest, user_mesh: DemoMesh) -> str:
    """Where Open Inference Protocol is spoken: the mesh's public address, then a worker's own."""
    if request.param == "mesh":
        return user_mesh.address
    address: str = user_mesh.status()["workers"][0]["address"]
    return address


@pytest.fixture
def own_mesh(tmp_path: Path, digits: models.Digits) -> Iterator[DemoMesh]:
    """A mesh of this test alone, serving `digits`, to be broken at will."""
    with DemoMesh(tmp_path / "mesh", workers=WORKERS) as mesh:
        with Client(mesh.address) as client:
            client.push("digits", digits.model)
            client.deploy("digits", wait_s=60)
        yield mesh

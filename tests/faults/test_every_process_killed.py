"""kill -9 of every process, in a random order, while calls are made and the registry is written to."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from servemesh.client import Client
from servemesh.errors import ExpiredError, UnavailableError
from tests.harness import models
from tests.harness.faults import SEED, FaultMesh
from tests.harness.registry_writer import RegistryWriter
from tests.harness.steady_load import SteadyLoad
from tests.harness.stored_events import revisions, stored_events
from tests.harness.waiting import blocking_until

WRITTEN = "written"
PUSH_S = 60.0


def saved(folder: Path, seed: int) -> Path:
    return models.saved(models.mlp(width=8, seed=seed), folder / f"{seed}")


def pushed(address: str, path: Path) -> int:
    """Push until it is acknowledged, as a person would; return the Version's id."""
    until_s = time.monotonic() + PUSH_S
    while True:
        try:
            with Client(address) as client:
                return client.push("pushed", path, timeout_s=PUSH_S).version
        except (UnavailableError, ExpiredError):
            if time.monotonic() > until_s:
                raise


@pytest.fixture
def writer(fault_mesh: FaultMesh, tmp_path: Path) -> RegistryWriter:
    with Client(fault_mesh.address) as client:
        for seed in (0, 1):
            client.push(WRITTEN, saved(tmp_path / "written", seed))
    return RegistryWriter(fault_mesh.address, WRITTEN, SEED)


@pytest.mark.timeout(300)
def test_no_call_fails_and_nothing_acknowledged_is_lost(
    fault_mesh: FaultMesh, load: SteadyLoad, writer: RegistryWriter, tmp_path: Path
) -> None:
    chance = random.Random(SEED)
    names = sorted(fault_mesh.processes)
    chance.shuffle(names)
    print(f"seed {SEED}: {', '.join(names)}")
    versions: dict[int, str] = {}
    with writer, ThreadPoolExecutor(1) as pool:
        for number, name in enumerate(names):
            path = saved(tmp_path / "pushed", number)
            with harm_of(name, load)(f"kill -9 of {name} (seed {SEED}) while the registry is written to"):
                push = pool.submit(pushed, fault_mesh.address, path)
                load.until_answered(chance.randrange(1, 60))
                fault_mesh.until_back(fault_mesh.kill(name))
                if name in fault_mesh.workers:
                    fault_mesh.until_taking_calls(name)
                load.until_answered(20)
            versions[push.result(PUSH_S)] = sha256(path.read_bytes()).hexdigest()
    print(f"{writer.acknowledged} changes acknowledged, {writer.sent_again} sent again")
    fault_mesh.until_whole()
    assert writer.acknowledged > 10 * len(names)
    writer.check()
    with Client(fault_mesh.address) as client:
        found = {version.version: version for version in client.versions("pushed")}
        for version, digest in versions.items():
            assert found[version].files[0].sha256 == digest
    print(f"{len(versions)} pushes acknowledged, {len(found)} versions")
    check_events(fault_mesh, writer)


def harm_of(name: str, load: SteadyLoad) -> Callable[[str], object]:
    return load.cut_off_by if name == "envoy" else load.unharmed_by


def check_events(fault_mesh: FaultMesh, writer: RegistryWriter) -> None:
    """Every change has its event, and those of one resource stand in order, each once."""
    alias = f"models/{WRITTEN}/aliases/prod"
    wanted = {alias, *writer.created}
    address = fault_mesh.processes["nats"]["address"]

    def has_all() -> bool:
        told = revisions(stored_events(address))
        return wanted <= told.keys() and len(told[alias]) >= len(writer.moves)

    blocking_until(has_all, 60, "every acknowledged change has its event")
    events = stored_events(address)
    moved = [event.alias_moved.version for event in events if event.resource == alias]
    assert moved == writer.moves
    told = revisions(events)
    gaps = {name: found for name, found in told.items() if found != list(range(1, len(found) + 1))}
    assert not gaps
    print(f"{len(events)} events of {len(told)} resources in order")

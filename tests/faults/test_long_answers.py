"""Workers that are killed while their answers are on the way: the edge lets none begin that may not end."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from servemesh.client import Client
from tests.faults.conftest import DEPLOY_S, WORKERS
from tests.harness import models
from tests.harness.faults import SEED, FaultMesh, lasting
from tests.harness.marks import Marks
from tests.harness.steady_load import SteadyLoad

MODEL = "long"
CLASSES = 8192
"""Eight rows of as many are a quarter of a MiB: an answer in many pieces."""
KILLS = int(lasting(6, 20))
VOLLEY = 400
RATE_PER_S = 20.0


@pytest.mark.timeout(120 + 30 * KILLS)
def test_workers_killed_in_the_middle_of_their_answers_fail_no_call(
    fault_mesh: FaultMesh, tmp_path: Path, marks: Marks
) -> None:
    path = models.saved(models.mlp(classes=CLASSES), tmp_path)
    with Client(fault_mesh.address) as client:
        client.push(MODEL, path)
        client.deploy(MODEL, replicas=WORKERS, wait_s=DEPLOY_S)
    chance = random.Random(SEED)
    with SteadyLoad(fault_mesh.address, MODEL, path, rate_per_s=RATE_PER_S) as load:
        fault_mesh.until_taking_calls(*fault_mesh.workers)
        for number in range(KILLS):
            victim = fault_mesh.workers[number % len(fault_mesh.workers)]
            load.send(VOLLEY)
            load.until_answered(chance.randrange(1, VOLLEY // 2))
            fault_mesh.until_back(fault_mesh.kill(victim))
            fault_mesh.until_taking_calls(victim)
        load.until_all_ended()
        during = load.figures()
    print(f"{KILLS} kill -9 (seed {SEED}): {during}; {during.faults[:5]}")
    what = f"failed of {during.calls} calls with answers of 256 KiB, {KILLS} times kill -9 in the middle"
    marks.must("R01", what, len(during.faults), at_most=0)
    with Client(fault_mesh.address) as client:
        client.undeploy(MODEL)

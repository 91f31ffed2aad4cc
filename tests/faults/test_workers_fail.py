"""Workers that are killed, frozen and told to end while calls go on: no caller notices."""

from __future__ import annotations

import random
import signal

import grpc
import pytest

from tests.harness.faults import SEED, FaultMesh
from tests.harness.steady_load import SteadyLoad
from tests.harness.waiting import blocking_until

KILLS = 6
VOLLEY = 48
FROZEN_CALLS = 400
"""So many answers take some five seconds at the steady rate."""


def test_workers_killed_in_the_middle_of_a_batch_fail_no_call(
    fault_mesh: FaultMesh, load: SteadyLoad
) -> None:
    chance = random.Random(SEED)
    for number in range(KILLS):
        victim = fault_mesh.workers[number % len(fault_mesh.workers)]
        with load.unharmed_by(f"kill -9 of {victim} (seed {SEED}, kill {number})"):
            load.send(VOLLEY)
            load.until_answered(chance.randrange(1, VOLLEY // 2))
            fault_mesh.until_back(fault_mesh.kill(victim))
            fault_mesh.until_taking_calls(victim)


def test_a_frozen_worker_fails_no_call_and_takes_calls_again(fault_mesh: FaultMesh, load: SteadyLoad) -> None:
    victim = random.Random(SEED).choice(fault_mesh.workers)
    with load.unharmed_by(f"SIGSTOP of {victim} (seed {SEED})"):
        load.send(VOLLEY)
        with fault_mesh.stopped(victim):
            load.until_answered(FROZEN_CALLS)
        fault_mesh.until_taking_calls(victim)
    assert fault_mesh.processes[victim]["state"] == "READY"


def test_workers_told_to_end_one_after_the_other_fail_no_call(
    fault_mesh: FaultMesh, load: SteadyLoad
) -> None:
    for name in fault_mesh.workers:
        with load.unharmed_by(f"SIGTERM of {name}"):
            load.send(VOLLEY)
            fault_mesh.until_back(fault_mesh.kill(name, number=signal.SIGTERM))
            fault_mesh.until_taking_calls(name)


@pytest.mark.timeout(90)
def test_all_workers_killed_at_once_come_back_and_serve(fault_mesh: FaultMesh, load: SteadyLoad) -> None:
    gone = fault_mesh.kill(*fault_mesh.workers)
    blocking_until(lambda: bool(load.figures().faults) or load.figures().slowest_s > 1, 30)
    fault_mesh.until_back(gone)
    fault_mesh.until_taking_calls(*gone)
    load.until_all_ended()
    with load.unharmed_by("the time after all workers were killed"):
        load.until_answered(50)
    figures = load.figures()
    print(f"all workers killed at once: {figures}")
    codes = {fault.partition(":")[0] for fault in figures.faults}
    assert codes <= {grpc.StatusCode.UNAVAILABLE.name}, figures.faults

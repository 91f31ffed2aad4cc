"""Workers that are killed, frozen and told to end while calls go on: no caller notices."""

from __future__ import annotations

import functools
import random
import signal
import time

import grpc
import pytest

from tests.harness.absence import Absence
from tests.harness.faults import SEED, FaultMesh, lasting
from tests.harness.marks import Marks
from tests.harness.steady_load import SteadyLoad
from tests.harness.waiting import blocking_until

KILLS = int(lasting(6, 20))
ROUNDS = int(lasting(1, 50))
FROZEN_S = lasting(5, 30)
VOLLEY = 48
AFTER_VOLLEY = 100
"""Steady calls that end while a killed worker starts anew: the time before has as many for each volley."""


@pytest.mark.timeout(120 + 30 * KILLS)
def test_workers_killed_in_the_middle_of_a_batch_fail_no_call(
    fault_mesh: FaultMesh, load: SteadyLoad, marks: Marks
) -> None:
    chance = random.Random(SEED)
    before_s = time.monotonic()
    for _ in range(int(lasting(2, 8))):
        load.send(VOLLEY)
        load.until_answered(AFTER_VOLLEY)
    during_s, last_calls_s, backs_s = time.monotonic(), [], []
    for number in range(KILLS):
        victim = fault_mesh.workers[number % len(fault_mesh.workers)]
        load.send(VOLLEY)
        load.until_answered(chance.randrange(1, VOLLEY // 2))
        gone, absence = fault_mesh.kill(victim), Absence(fault_mesh, fault_mesh.address_of(victim))
        absence.look_until(functools.partial(fault_mesh.is_back, gone))
        backs_s.append(absence.until_answers())
        last_calls_s.append(absence.last_call_s)
    load.until_all_ended()
    before, during = load.figures(before_s, during_s), load.figures(during_s)
    print(f"{KILLS} kill -9 (seed {SEED}): {during}; {during.faults[:5]}; before: {before}")
    what = f"failed of {during.calls} calls, {KILLS} times kill -9 mid-batch"
    marks.must("R01", what, len(during.faults), at_most=0)
    marks.told("R01", "p99 during ÷ before", during.p99_s / before.p99_s, at_most=2)
    last_ms = 1000 * max(last_calls_s)
    marks.told("R01", "last call sent to a killed worker, after the kill", last_ms, unit="ms", at_most=200)
    marks.told("R01", "a restarted worker answers calls, after READY", max(backs_s), unit="s", at_most=3)


@pytest.mark.timeout(120 + FROZEN_S)
def test_a_frozen_worker_fails_no_call_and_takes_calls_again(
    fault_mesh: FaultMesh, load: SteadyLoad, marks: Marks
) -> None:
    victim = random.Random(SEED).choice(fault_mesh.workers)
    start_s = time.monotonic()
    load.send(VOLLEY)
    with fault_mesh.stopped(victim):
        absence = Absence(fault_mesh, fault_mesh.address_of(victim))
        absence.look_for(FROZEN_S)
    back_s = absence.until_answers()
    load.until_all_ended()
    during = load.figures(start_s)
    print(f"SIGSTOP of {victim} for {FROZEN_S:g} s (seed {SEED}): {during}; {during.faults[:5]}")
    what = f"failed of {during.calls} calls, a worker frozen for {FROZEN_S:g} s and going on"
    marks.must("R02", what, len(during.faults), at_most=0)
    marks.must("R02", "calls that ended after their deadline, or never", during.late, at_most=0)
    last_s = absence.last_call_s
    marks.told("R02", "last call sent to a frozen worker, after SIGSTOP", last_s, unit="s", at_most=2)
    marks.told("R02", "the slowest call that it had taken", during.slowest_s, unit="s", at_most=2)
    marks.told("R02", "it answers calls again, after SIGCONT", back_s, unit="s", at_most=3)
    assert fault_mesh.processes[victim]["state"] == "READY"


@pytest.mark.timeout(120 + 60 * ROUNDS)
def test_workers_told_to_end_one_after_the_other_fail_no_call(
    fault_mesh: FaultMesh, load: SteadyLoad, marks: Marks
) -> None:
    start_s = time.monotonic()
    for _ in range(ROUNDS):
        for name in fault_mesh.workers:
            load.send(VOLLEY)
            fault_mesh.until_back(fault_mesh.kill(name, number=signal.SIGTERM))
            fault_mesh.until_taking_calls(name)
    load.until_all_ended()
    during = load.figures(start_s)
    print(f"{ROUNDS} rounds of SIGTERM: {during}; {during.faults[:5]}")
    what = f"failed of {during.calls} calls, rolling SIGTERM of all workers, rounds: {ROUNDS}"
    marks.must("R05", what, len(during.faults), at_most=0)


@pytest.mark.timeout(180)
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

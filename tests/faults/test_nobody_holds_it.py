"""Every worker that holds a model is away: its callers are told so at once, and nobody else notices."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.api.oip.v2 import inference_pb2_grpc as pb_grpc
from servemesh.client import Client
from servemesh.client.retries import pushback_of
from tests.harness import models
from tests.harness.faults import HEAL_S, FaultMesh, lasting
from tests.harness.marks import Marks
from tests.harness.steady_caller import CHANNEL_OPTIONS
from tests.harness.steady_load import SteadyLoad
from tests.harness.waiting import blocking_until

MODEL = "alone"
ROUNDS = int(lasting(2, 10))
CALL_S = 10.0
PAUSE_S = 0.01
CALLS_BEFORE = 100
REFUSED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A call that failed: how, how soon, and whether its caller was told when to come back."""

    code: str
    after_s: float
    has_pushback: bool


class OneByOne:
    """Calls for a model, one soon after the other."""

    def __init__(self, address: str, model: str) -> None:
        self._address = address
        tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 4])
        self._request = pb.ModelInferRequest(
            model_name=model, inputs=[tensor], raw_input_contents=[bytes(16)]
        )
        self.refusals: list[Refusal] = []
        self.answered_s = 0.0
        self._stop = threading.Event()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Make calls for the length of the block."""
        self._stop.clear()
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _run(self) -> None:
        with grpc.insecure_channel(self._address, options=CHANNEL_OPTIONS) as channel:
            infer = pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer
            while not self._stop.wait(PAUSE_S):
                start_s = time.monotonic()
                try:
                    infer(self._request, timeout=CALL_S)
                except grpc.RpcError as error:
                    self.refusals.append(
                        Refusal(
                            code=error.code().name,
                            after_s=time.monotonic() - start_s,
                            has_pushback=pushback_of(error.trailing_metadata()) is not None,
                        )
                    )
                else:
                    self.answered_s = time.monotonic()

    def until_answered(self) -> float:
        """Wait until a call is answered that ends from now on; return how long that took."""
        start_s = time.monotonic()
        blocking_until(lambda: self.answered_s > start_s, HEAL_S, "a call is answered")
        return time.monotonic() - start_s


@pytest.fixture
def holder(fault_mesh: FaultMesh, tmp_path: Path) -> Iterator[str]:
    """The one worker that holds the model."""
    with Client(fault_mesh.address) as client:
        client.push(MODEL, models.saved(models.identity(), tmp_path))
        client.deploy(MODEL, replicas=1, wait_s=60)
        yield next(
            worker.worker
            for worker in client.status().workers
            if any(slot.model == MODEL for slot in worker.slots)
        )
        client.undeploy(MODEL)


@pytest.mark.timeout(120 + 30 * ROUNDS)
def test_callers_are_told_at_once_when_to_come_back_and_other_models_go_on(
    fault_mesh: FaultMesh, holder: str, load: SteadyLoad, marks: Marks
) -> None:
    load.until_answered(CALLS_BEFORE)
    start_s, backs_s, calls = time.monotonic(), [], OneByOne(fault_mesh.address, MODEL)
    before = load.figures(until_s=start_s)
    with calls.running():
        calls.until_answered()
        for _ in range(ROUNDS):
            fault_mesh.until_back(fault_mesh.kill(holder))
            backs_s.append(calls.until_answered())
    load.until_all_ended()
    during, refused = load.figures(start_s), calls.refusals
    afters_s = sorted(refusal.after_s for refusal in refused)
    print(f"{ROUNDS} kills of the only holder: {len(refused)} refused; others: {during}; {during.faults[:5]}")
    assert refused
    wrong = sum(1 for refusal in refused if refusal.code != "UNAVAILABLE" or not refusal.has_pushback)
    what = f"not UNAVAILABLE with a time to wait, of {len(refused)} refusals, the only holder killed"
    marks.must("R08", what, wrong, at_most=0)
    p99_ms = 1000 * afters_s[int(0.99 * (len(afters_s) - 1))]
    marks.told("R08", "a refusal comes after (p99)", p99_ms, unit="ms", at_most=50)
    slowest_ms = 1000 * afters_s[-1]
    marks.told("R08", "the slowest refusal, at the moment of the kill", slowest_ms, unit="ms", at_most=250)
    marks.must("R08", f"failed of {during.calls} calls for another model", len(during.faults), at_most=0)
    marks.told("R08", "p99 of another model, during ÷ before", during.p99_s / before.p99_s, at_most=1.2)
    marks.told("R08", "the first answer, after one is READY again", max(backs_s), unit="s", at_most=2)


@pytest.mark.timeout(180)
def test_in_a_mesh_without_workers_calls_do_not_wait_for_their_deadline(
    fault_mesh: FaultMesh, holder: str, marks: Marks
) -> None:
    assert holder in fault_mesh.workers
    calls = OneByOne(fault_mesh.address, MODEL)
    with fault_mesh.unattended():
        gone = fault_mesh.kill(*fault_mesh.workers, number=signal.SIGTERM)
        fault_mesh.until_forgotten(*gone)
        with calls.running():
            blocking_until(lambda: len(calls.refusals) >= REFUSED, HEAL_S, "calls are refused")
    fault_mesh.until_back(gone)
    with calls.running():
        back_s = calls.until_answered()
    wrong = sum(1 for refusal in calls.refusals if refusal.code != "UNAVAILABLE" or not refusal.has_pushback)
    marks.must("R08", "not UNAVAILABLE with a time to wait, no worker in the mesh", wrong, at_most=0)
    afters_s = sorted(refusal.after_s for refusal in calls.refusals[:REFUSED])
    median_ms = 1000 * afters_s[len(afters_s) // 2]
    marks.told(
        "R08", "a refusal comes after (median), no worker in the mesh", median_ms, unit="ms", at_most=50
    )
    marks.told("R08", "the first answer, after workers are READY again", back_s, unit="s", at_most=2)

"""Models that crash their worker, do not stop or eat memory: it comes back, they are given up, others go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import pytest

from servemesh.api.oip.v2 import inference_pb2_grpc as pb_grpc
from servemesh.client import Client
from tests.harness import hostile_models, models
from tests.harness.faults import FaultMesh, lasting
from tests.harness.hostile_models import CRASHING
from tests.harness.marks import Marks
from tests.harness.steady_load import SteadyLoad
from tests.harness.waiting import blocking_until
from tests.harness.worker_server import a_request

WORKER_MEMORY_BYTES = 3 << 30  # as the fixture of the mesh sets it
TOO_MUCH = np.array([1 << 33], np.int64)  # floats: eight times what a worker may have
SHARES = (0.94, 0.91, 0.88, 0.85, 0.82)  # of a worker's memory: the largest that it still gets is kept
A_MINUTE = np.array(400_000, np.int64)
CRASHES_MAX = 3
DEATHS = lasting(1, CRASHES_MAX)  # where each takes some ten seconds
GIVEN_UP_S = 90.0
DYING_S = 10.0


class Hostile:
    """One model on one worker, called until the worker has had enough of it."""

    def __init__(self, mesh: FaultMesh, stub: Any, name: str) -> None:
        self.mesh = mesh
        self.name = name
        self._stub = stub
        with Client(mesh.address) as client:
            (self.worker,) = (
                worker.worker
                for worker in client.status().workers
                if any(slot.model == name and slot.state == "READY" for slot in worker.slots)
            )

    def call(self, timeout_s: float, **inputs: np.ndarray[Any, Any]) -> grpc.StatusCode:
        """Call the model once; return how it ended."""
        call = self._stub.ModelInfer.future(a_request(self.name, **inputs), timeout=timeout_s)
        code: grpc.StatusCode = call.code()
        return code

    def refusal(self) -> str:
        """Call the model once; return why it is refused."""
        return str(self._stub.ModelInfer.future(a_request(self.name), timeout=5).details())

    @property
    def restarts(self) -> int:
        """How often its worker has died since it runs."""
        return int(self.mesh.processes[self.worker]["restarts"])

    def dies(self, restarts: int) -> bool:
        """Wait until its worker has died once more than `restarts` times; whether it has.

        Not every provocation kills, and a worker may take long to die: of a core file, for instance.
        """
        with suppress(AssertionError):
            blocking_until(lambda: self.restarts != restarts, DYING_S)
        return self.restarts != restarts

    @property
    def reason(self) -> str:
        """Why its Deployment has failed; empty while it has not."""
        with Client(self.mesh.address) as client:
            found = next(found for found in client.deployments() if found.model == self.name)
        return found.reason if found.state == "FAILED" else ""


@pytest.fixture
def hostile(fault_mesh: FaultMesh, tmp_path: Path) -> Callable[..., Any]:
    """Deploys a hostile model on one worker for the length of a block."""

    @contextmanager
    def deployed(name: str, model: onnx.ModelProto) -> Iterator[Hostile]:
        with (
            Client(fault_mesh.address) as client,
            grpc.insecure_channel(fault_mesh.address, [("grpc.enable_retries", 0)]) as channel,
        ):
            client.push(name, models.saved(model, tmp_path / name))
            client.deploy(name, replicas=1, wait_s=60)
            try:
                yield Hostile(fault_mesh, pb_grpc.GRPCInferenceServiceStub(channel), name)
            finally:
                client.undeploy(name)

    return deployed


def given_up(
    hostile: Hostile,
    load: SteadyLoad,
    marks: Marks,
    what: str,
    provoke: Callable[[], Any],
    deaths_max: float = CRASHES_MAX,
) -> None:
    """Provoke until the model is quarantined, with its third death of one worker, or so many; no other is harmed."""
    before = hostile.restarts
    others = {name: process["restarts"] for name, process in hostile.mesh.processes.items()}
    others.pop(hostile.worker)
    back_s: list[float] = []
    with load.unharmed_by(f"{what} of {hostile.worker}"):
        until_s = time.monotonic() + GIVEN_UP_S
        while not hostile.reason and len(back_s) < deaths_max and time.monotonic() < until_s:
            pid, seen = hostile.mesh.processes[hostile.worker]["pid"], hostile.restarts
            provoke()
            if hostile.dies(seen):
                start_s = time.monotonic()
                hostile.mesh.until_back({hostile.worker: pid})
                back_s.append(time.monotonic() - start_s)
        if deaths_max == CRASHES_MAX:
            blocking_until(lambda: hostile.reason == "CRASHED_WORKER", 60, "the model is given up")
    assert back_s
    deaths = hostile.restarts - before
    marks.must(
        "R32", f"deaths of the worker until the model is given up: {what}", deaths, at_most=CRASHES_MAX
    )
    processes = hostile.mesh.processes
    innocent = sum(processes[name]["restarts"] - count for name, count in others.items())
    marks.must("R32", f"deaths of other processes: {what}", innocent, at_most=0)
    marks.must("R32", f"failed calls of other models: {what}", len(load.figures().faults), at_most=0)
    marks.told("R32", f"until the worker is back: {what}", max(back_s, default=0.0), unit="s", at_most=5)
    if deaths_max == CRASHES_MAX:
        # Envoy may not have heard yet that the worker is back without the model.
        blocking_until(
            lambda: "died 3 times" in hostile.refusal(), 10, f"callers are told why: {hostile.refusal()}"
        )


def _harmless(name: str) -> dict[str, np.ndarray[Any, Any]]:
    inputs: dict[str, dict[str, np.ndarray[Any, Any]]] = {
        "crashing": {"x": np.array([6], np.int32), "by": np.array([2], np.int32)},
        "unstoppable": {"boxes": np.array(1, np.int64)},
        "greedy": {"size": np.array([1], np.int64)},
    }
    return inputs[name]


@pytest.mark.timeout(300)
def test_a_model_that_crashes_its_worker_is_given_up_after_the_third_time(
    hostile: Callable[..., Any], load: SteadyLoad, marks: Marks
) -> None:
    x, by = CRASHING
    with hostile("crashing", hostile_models.dividing()) as found:
        assert found.call(5.0, **_harmless("crashing")) is grpc.StatusCode.OK
        given_up(found, load, marks, "a crash", lambda: found.call(20.0, x=x, by=by))


@pytest.mark.timeout(300)
def test_a_model_whose_kernel_does_not_stop_is_given_up_after_the_third_time(
    hostile: Callable[..., Any], load: SteadyLoad, marks: Marks
) -> None:
    with hostile("unstoppable", hostile_models.unstoppable()) as found:
        assert found.call(5.0, **_harmless("unstoppable")) is grpc.StatusCode.OK
        given_up(found, load, marks, "a kernel of a minute", lambda: found.call(0.5, boxes=A_MINUTE), DEATHS)


@pytest.mark.timeout(300)
def test_a_model_that_asks_for_too_much_memory_is_refused_and_one_that_keeps_it_is_given_up(
    hostile: Callable[..., Any], load: SteadyLoad, marks: Marks
) -> None:
    with hostile("greedy", hostile_models.greedy()) as found:
        seen = found.restarts
        with load.unharmed_by("calls that ask for too much memory"):
            codes = {found.call(10.0, size=TOO_MUCH) for _ in range(3)}
        assert codes == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert found.restarts == seen

        def provoke() -> None:
            sizes = (np.array([int(share * (WORKER_MEMORY_BYTES >> 2))], np.int64) for share in SHARES)
            any(found.call(5.0, size=size) is grpc.StatusCode.OK for size in sizes)

        given_up(found, load, marks, "memory that it keeps", provoke, DEATHS)


def test_a_model_that_loops_without_end_is_stopped_at_the_deadline_of_its_caller(
    hostile: Callable[..., Any], load: SteadyLoad, marks: Marks
) -> None:
    with hostile("endless", models.counter()) as found:
        seen = found.restarts
        with load.unharmed_by("a loop without end"):
            codes = {found.call(0.3, times=np.array(2**40, np.int64)) for _ in range(5)}
        assert codes == {grpc.StatusCode.DEADLINE_EXCEEDED}
        assert found.call(5.0, times=np.array(1, np.int64)) is grpc.StatusCode.OK
        marks.must("R32", "deaths of a worker by loops without end", found.restarts - seen, at_most=0)

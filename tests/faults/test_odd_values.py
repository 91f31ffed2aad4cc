"""Values and shapes at the edge of what there is: computed exactly, or refused before anything is allocated."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import numpy as np
import psutil
import pytest

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.api.oip.v2 import inference_pb2_grpc as pb_grpc
from servemesh.client import Client
from tests.harness import models
from tests.harness.faults import FaultMesh
from tests.harness.marks import Marks

NUMBERS, WORDS = "numbers", "words"
MEBIBYTE = 1 << 20
MILLION = 1 << 20
ROUNDS = 8  # of five MiB each, were they kept
ODD = np.array(
    [[np.nan, np.inf, -np.inf, -0.0], [1e-45, -1e-40, 3.4e38, 1.2e-38]],
    np.float32,
)
REFUSED = {
    "a negative dimension": [-1, 4],
    "the smallest dimension there is": [-(2**63), 4],
    "a product of 2^63": [2**61, 4],
    "2^45 elements": [2**43, 4],
    "a huge dimension beside one of 0": [2**62, 0],
    "no elements where there must be": [1, 0],
    "a thousand dimensions": [1] * 1000,
}


@pytest.fixture(scope="module")
def odd_mesh(fault_mesh: FaultMesh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultMesh]:
    """The mesh, with models that give numbers and words back, each on every worker."""
    with Client(fault_mesh.address) as client:
        built = {NUMBERS: models.identity(), WORDS: models.identity("BYTES", ("n",))}
        for name, model in built.items():
            client.push(name, models.saved(model, tmp_path_factory.mktemp(name)))
            client.deploy(name, replicas=len(fault_mesh.workers), wait_s=60)
        yield fault_mesh
        for name in built:
            client.undeploy(name)


class Caller:
    """Sends one tensor, and tells how the call ended."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._infer = pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer

    def call(self, model: str, datatype: str, shape: list[int], data: bytes) -> tuple[grpc.StatusCode, bytes]:
        tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype=datatype, shape=shape)
        request = pb.ModelInferRequest(model_name=model, inputs=[tensor], raw_input_contents=[data])
        call = self._infer.future(request, timeout=60)
        code: grpc.StatusCode = call.code()
        return code, bytes(call.result().raw_output_contents[0]) if code is grpc.StatusCode.OK else b""


@contextmanager
def calling(address: str) -> Iterator[Caller]:
    """Connect."""
    with grpc.insecure_channel(address, [("grpc.max_receive_message_length", -1)]) as channel:
        yield Caller(channel)


@pytest.fixture
def caller(odd_mesh: FaultMesh) -> Iterator[Caller]:
    with calling(odd_mesh.address) as caller:
        yield caller


def test_odd_numbers_and_no_rows_are_computed_bit_for_bit(caller: Caller, marks: Marks) -> None:
    code, answer = caller.call(NUMBERS, "FP32", [2, 4], ODD.tobytes())
    assert code is grpc.StatusCode.OK
    marks.must("R31", "bits changed in NaN, Inf, -0 and denormals", int(answer != ODD.tobytes()), at_most=0)
    assert caller.call(NUMBERS, "FP32", [0, 4], b"") == (grpc.StatusCode.OK, b"")


def test_impossible_shapes_are_refused_and_take_no_memory(
    odd_mesh: FaultMesh, caller: Caller, marks: Marks
) -> None:
    text = struct.pack("<I", 1) + b"a"
    lying = text * (MILLION - 1)  # one element short, which shows at the end
    assert caller.call(NUMBERS, "FP32", [1, 4], bytes(16))[0] is grpc.StatusCode.OK
    assert caller.call(WORDS, "BYTES", [1], text)[0] is grpc.StatusCode.OK

    tries = {what: (NUMBERS, "FP32", shape, bytes(16)) for what, shape in REFUSED.items()}
    tries["a million texts but one"] = (WORDS, "BYTES", [MILLION], lying)

    def refused(rounds: int) -> tuple[list[str], float]:
        """Send all of them to every worker; return what was answered, and the growth of the worst worker in MiB."""
        before, answered = _memory_bytes(odd_mesh), []
        for name in odd_mesh.workers:
            with calling(odd_mesh.address_of(name)) as worker:
                for what, tried in list(tries.items()) * rounds:
                    code, _answer = worker.call(*tried)
                    if code is not grpc.StatusCode.INVALID_ARGUMENT:
                        answered.append(f"{name}: {what}: {code}")
        grown = max(after - before[name] for name, after in _memory_bytes(odd_mesh).items())
        return answered, grown / MEBIBYTE

    (first, at_first), (again, repeated) = refused(ROUNDS), refused(ROUNDS)
    print(first, again)
    marks.must("R31", "impossible shapes that are not refused", len(first + again), at_most=0)
    what = "memory of a worker for what it refuses"
    marks.told("R31", what, at_first, unit="MiB", at_most=16)
    # What the heaps of all its threads need for the first such messages, they need only once.
    marks.must("R31", f"{what}, when that is repeated", repeated, unit="MiB", at_most=16)


def test_a_million_texts_are_given_back(caller: Caller, marks: Marks) -> None:
    data = b"".join(struct.pack("<I", number % 3) + b"abc"[: number % 3] for number in range(MILLION))
    code, answer = caller.call(WORDS, "BYTES", [MILLION], data)
    assert code is grpc.StatusCode.OK
    marks.must("R31", "a million texts that came back otherwise", int(answer != data), at_most=0)


def _memory_bytes(mesh: FaultMesh) -> dict[str, int]:
    return {name: int(psutil.Process(mesh.processes[name]["pid"]).memory_info().rss) for name in mesh.workers}

"""Requests of a known form are taken apart without being parsed, and mean what a parser would find in them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.errors import ServemeshError
from servemesh.worker.api.express import ExpressInfer, form_of
from servemesh.worker.api.frames import Frames
from servemesh.worker.api.responses import response
from servemesh.worker.domain.batching import BatchPolicy
from servemesh.worker.domain.forms import FORMS_MAX, LEARN_EVERY, PREFIX_BYTES_MAX, Forms
from servemesh.worker.domain.signature import Signature, TensorSpec
from servemesh.worker.service.batcher import Batcher
from servemesh.worker.service.inference import Answer
from servemesh.worker.service.slots import ReadySlot
from servemesh.worker.service.statistics import Statistics
from tests.harness.runtimes import MemoryRuntime
from tests.harness.worker_slots import DirectSlot, DirectSlots

Tensor = pb.ModelInferRequest.InferInputTensor
Wanted = pb.ModelInferRequest.InferRequestedOutputTensor
SIGNATURE = Signature(
    inputs=(
        TensorSpec(name="x", datatype="FP32", shape=(-1, 4)),
        TensorSpec(name="mask", datatype="INT8", shape=(-1, -1)),
        TensorSpec(name="bias", datatype="FP32", shape=(-1, 1), optional=True),
        TensorSpec(name="flag", datatype="BOOL", shape=(-1,), optional=True),
        TensorSpec(name="text", datatype="BYTES", shape=(-1,), optional=True),
    ),
    outputs=(
        TensorSpec(name="y", datatype="FP32", shape=(-1, 4)),
        TensorSpec(name="z", datatype="FP32", shape=(-1, 4)),
    ),
    batchable=True,
)
OTHER = Signature(
    inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, 4)),), outputs=SIGNATURE.outputs, batchable=True
)


def a_slot(signature: Signature = SIGNATURE) -> ReadySlot:
    policy, statistics = BatchPolicy(), Statistics()
    batcher = Batcher(MemoryRuntime(), signature, policy, statistics)
    return ReadySlot(
        model="net",
        version_id=3,
        signature=signature,
        policy=policy,
        batcher=batcher,
        statistics=statistics,
    )


def an_express(signature: Signature = SIGNATURE) -> tuple[ExpressInfer, DirectSlot]:
    slot = DirectSlot(
        model="net", version_id=3, signature=signature, policy=BatchPolicy(), statistics=Statistics()
    )
    slot.ready = a_slot(signature)
    return ExpressInfer(DirectSlots({"net": slot})), slot


def learn(express: ExpressInfer, payload: bytes) -> None:
    """Send it until it has been looked at."""
    for _ in range(LEARN_EVERY):
        express.recognise(payload, ())
    assert express.recognise(payload, ()) is not None


def a_request(rows: int = 1, width: int = 2, seed: int = 0, **changes: Any) -> pb.ModelInferRequest:
    random = np.random.default_rng(seed)
    tensors = [
        Tensor(name="mask", datatype="INT8", shape=[rows, width]),
        Tensor(name="x", datatype="FP32", shape=[rows, 4]),
    ]
    raws = [random.bytes(rows * width), random.bytes(rows * 16)]
    return pb.ModelInferRequest(
        **{"model_name": "net", "inputs": tensors, "raw_input_contents": raws, **changes}
    )


@given(rows=st.integers(1, 9), width=st.integers(1, 200), seed=st.integers(0, 9), wanted=st.booleans())
def test_another_request_of_the_form_has_the_inputs_that_a_parser_finds(
    rows: int, width: int, seed: int, wanted: bool
) -> None:
    express, _ = an_express()
    outputs = {"outputs": [Wanted(name="z")]} if wanted else {}
    first, second = (a_request(rows, width, seed + n, **outputs) for n in range(2))
    assert express.recognise(first.SerializeToString(), ()) is None
    recognised = express.recognise(second.SerializeToString(), ())
    assert recognised is not None
    assert recognised.form.outputs == (("z",) if wanted else ("y", "z"))
    assert recognised.form.rows == rows
    _assert_same(recognised.inputs, second)


@given(data=st.data())
def test_a_changed_message_is_recognised_only_if_it_is_valid_and_means_the_same(data: st.DataObject) -> None:
    express, slot = an_express()
    # Forms whose messages differ in length by little, and begin with prefixes of one size.
    payloads = [a_request(2, width).SerializeToString() for width in (3, 4, 5)]
    for payload in payloads:
        learn(express, payload)
    payload = data.draw(st.sampled_from(payloads))
    changed = bytearray(payload)
    if cut := data.draw(st.integers(-5, 5)):
        changed = changed[:cut] if cut < 0 else changed + data.draw(st.binary(min_size=cut, max_size=cut))
    payload = bytes(changed)
    for _ in range(data.draw(st.integers(0, 3))):
        changed[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    recognised = express.recognise(bytes(changed), ())
    if recognised is not None:
        request = pb.ModelInferRequest.FromString(bytes(changed))
        assert (request.model_name, request.model_version) == (slot.model, "")
        _assert_same(recognised.inputs, request)


@pytest.mark.parametrize(
    "request_",
    [
        a_request(id="7"),
        a_request(parameters={"priority": pb.InferParameter(int64_param=1)}),
        a_request(
            outputs=[Wanted(name="y", parameters={"classification": pb.InferParameter(int64_param=2)})]
        ),
        a_request(
            inputs=[
                *a_request().inputs,
                Tensor(name="flag", datatype="BOOL", shape=[1]),
            ],
            raw_input_contents=[*a_request().raw_input_contents, b"\1"],
        ),
        a_request(
            inputs=[*a_request().inputs, Tensor(name="text", datatype="BYTES", shape=[1])],
            raw_input_contents=[*a_request().raw_input_contents, b"\1\0\0\0a"],
        ),
        a_request(
            inputs=[
                Tensor(
                    name="x",
                    datatype="FP32",
                    shape=[1, 4],
                    contents=pb.InferTensorContents(fp32_contents=[1, 2, 3, 4]),
                )
            ],
            raw_input_contents=[],
        ),
        a_request(rows=0),
    ],
    ids=["id", "parameters", "classification", "bool", "text", "typed contents", "no rows"],
)
def test_what_needs_a_closer_look_has_no_form(request_: pb.ModelInferRequest) -> None:
    assert form_of(request_.SerializeToString(), request_, a_slot()) is None


@pytest.mark.parametrize(
    ("payload", "metadata"),
    [
        (a_request(model_name="unknown").SerializeToString(), ()),
        (a_request(model_version="9").SerializeToString(), ()),
        (a_request().SerializeToString(), (("x-servemesh-model", "another"),)),
        (b"\xff\xff\xff", ()),
        (b"", ()),
    ],
    ids=["model", "version", "edge", "bytes", "nothing"],
)
def test_what_is_wrong_is_left_to_the_servicer(payload: bytes, metadata: tuple[tuple[str, str], ...]) -> None:
    express, _ = an_express()
    assert [express.recognise(payload, metadata) for _ in range(2 * LEARN_EVERY)] == [None] * 2 * LEARN_EVERY


def test_a_request_is_left_to_the_servicer_once_its_slot_is_gone_or_takes_something_else() -> None:
    express, slot = an_express(OTHER)
    payload = pb.ModelInferRequest(
        model_name="net",
        inputs=[Tensor(name="x", datatype="FP32", shape=[1, 4])],
        raw_input_contents=[bytes(16)],
    ).SerializeToString()
    express.recognise(payload, ())
    assert express.recognise(payload, ()) is not None
    slot.ready = a_slot(SIGNATURE)
    assert express.recognise(payload, ()) is None
    slot.state = "UNLOADED"
    assert express.recognise(payload, ()) is None


@pytest.mark.parametrize(
    "changed",
    [
        lambda payload: payload + pb.ModelInferRequest(id="7").SerializeToString(),
        lambda payload: payload + pb.ModelInferRequest(model_name="other").SerializeToString(),
        lambda payload: payload + pb.ModelInferRequest(raw_input_contents=[b"a"]).SerializeToString(),
        lambda payload: payload + b"\xf8\x7f\x01",
        lambda payload: payload + b"\0",
        lambda payload: payload[:-1],
        lambda payload: payload[:-16],
    ],
    ids=["id", "model", "tensor", "unknown field", "no field", "cut", "cut at an element"],
)
def test_a_message_with_something_after_its_tensors_or_cut_off_is_left_to_the_servicer(changed: Any) -> None:
    express, _ = an_express()
    payload = a_request(width=40).SerializeToString()
    learn(express, payload)
    other = changed(payload)
    # A form of messages of that length, whose prefix has the same size.
    learn(express, a_request(width=40 + len(other) - len(payload)).SerializeToString())
    assert express.recognise(other, ()) is None
    assert express.recognise(payload, ()) is not None


def test_bytes_of_a_tensor_that_look_like_fields_are_that_tensors() -> None:
    express, _ = an_express()
    payload = a_request(width=40).SerializeToString()
    learn(express, payload)
    fields = pb.ModelInferRequest(
        model_name="other", id="7", raw_input_contents=[bytes(20)]
    ).SerializeToString()
    request = a_request(raw_input_contents=[fields[:40].ljust(40, b"\x3a"), fields[:16]], width=40)
    recognised = express.recognise(request.SerializeToString(), ())
    assert recognised is not None
    _assert_same(recognised.inputs, request)


def test_a_form_is_learnt_anew_for_a_version_that_takes_or_gives_something_else() -> None:
    express, slot = an_express()
    payload = a_request().SerializeToString()
    learn(express, payload)
    slot.ready = a_slot(replace(SIGNATURE, outputs=SIGNATURE.outputs[:1]))
    learn(express, payload)
    recognised = express.recognise(payload, ())
    assert recognised is not None
    assert recognised.form.outputs == ("y",)


def test_a_message_with_much_before_its_tensors_is_not_remembered() -> None:
    request = a_request()
    ballast = b"\xfa\x7f\x80\x80\x01" + bytes(PREFIX_BYTES_MAX)  # an unknown field
    payload = ballast + request.SerializeToString()
    assert pb.ModelInferRequest.FromString(payload).model_name == "net"
    assert form_of(payload, pb.ModelInferRequest.FromString(payload), a_slot()) is None


def test_a_request_of_more_rows_than_run_together_is_left_to_the_servicer() -> None:
    express, _ = an_express()
    payload = a_request(rows=BatchPolicy().rows_max + 1).SerializeToString()
    assert [express.recognise(payload, ()) for _ in range(2)] == [None, None]


def test_callers_whose_requests_are_never_alike_are_looked_at_now_and_then_and_remembered_boundedly() -> None:
    forms = Forms()
    looked_at = sum(forms.is_worth_learning() for _ in range(100 * LEARN_EVERY))
    assert looked_at == 100
    for width in range(1, FORMS_MAX + 10):
        request = a_request(width=width)
        payload = request.SerializeToString()
        form = form_of(payload, request, a_slot())
        assert form is not None
        forms.add(form)
        assert forms.find(payload) is form
    first = a_request(width=1).SerializeToString()
    assert forms.find(first) is None


@given(rows=st.integers(0, 300), seed=st.integers(0, 9))
def test_a_frame_is_the_response_encoded(rows: int, seed: int) -> None:
    frames, slot = Frames(), a_slot()
    for number in range(2):
        random = np.random.default_rng(seed + number)
        outputs = [random.normal(size=(rows, 4)).astype(np.float32), np.array(["a", "bc"], object)]
        expected = response(Answer(slot=slot, names=("y", "z"), outputs=outputs), "")
        assert pb.ModelInferResponse.FromString(frames.frame(slot, ("y", "z"), outputs)) == expected


def _assert_same(inputs: Any, request: pb.ModelInferRequest) -> None:
    try:
        arranged = a_slot().plan.arranged(request.inputs, request.raw_input_contents)
    except (DecodeError, ServemeshError) as error:
        raise AssertionError("recognised what is not valid") from error
    for got, expected in zip(inputs, arranged.inputs, strict=True):
        assert (got is None) == (expected is None)
        if got is not None:
            assert got.tobytes() == expected.tobytes()
            assert (got.dtype, got.shape) == (expected.dtype, expected.shape)

"""Calls are held against the signature: what does not fit is refused with field, expected and got."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.errors import InvalidError, UnsupportedError
from servemesh.tensors.datatypes import DATATYPES
from servemesh.worker.domain.parameters import call_parameters, class_counts
from servemesh.worker.domain.requests import RequestPlan
from servemesh.worker.domain.signature import Signature, TensorSpec

Tensor = pb.ModelInferRequest.InferInputTensor
ROW = np.arange(4, dtype=np.float32).tobytes()
SIGNATURE = Signature(
    inputs=(
        TensorSpec(name="x", datatype="FP32", shape=(-1, 4)),
        TensorSpec(name="mask", datatype="INT8", shape=(-1, -1)),
        TensorSpec(name="bias", datatype="FP32", shape=(-1, 1), optional=True),
    ),
    outputs=(
        TensorSpec(name="y", datatype="FP32", shape=(-1, 4)),
        TensorSpec(name="z", datatype="FP32", shape=(-1, 4)),
    ),
    batchable=True,
)


def x(**changes: Any) -> Tensor:
    return Tensor(**{"name": "x", "datatype": "FP32", "shape": [1, 4], **changes})


def mask(**changes: Any) -> Tensor:
    return Tensor(**{"name": "mask", "datatype": "INT8", "shape": [1, 2], **changes})


def test_inputs_come_back_in_the_order_of_the_signature() -> None:
    arranged = RequestPlan(SIGNATURE).arranged([mask(), x()], [b"\1\2", ROW])
    assert arranged.rows == 1
    assert arranged.inputs[0] is not None
    assert arranged.inputs[0].tolist() == [[0, 1, 2, 3]]
    assert arranged.inputs[1] is not None
    assert arranged.inputs[1].tolist() == [[1, 2]]
    assert arranged.inputs[2] is None


def test_typed_contents_are_taken_too() -> None:
    typed = x(contents=pb.InferTensorContents(fp32_contents=[5, 6, 7, 8]))
    arranged = RequestPlan(SIGNATURE).arranged(
        [typed, mask(contents=pb.InferTensorContents(int_contents=[1, 2]))], []
    )
    assert arranged.inputs[0] is not None
    assert arranged.inputs[0].tolist() == [[5, 6, 7, 8]]


def test_a_call_may_have_no_rows() -> None:
    arranged = RequestPlan(SIGNATURE).arranged([x(shape=[0, 4]), mask(shape=[0, 2])], [b"", b""])
    assert arranged.rows == 0


def test_a_scalar_has_no_rows_and_runs_whole() -> None:
    scalar = Signature(
        inputs=(TensorSpec(name="n", datatype="INT64", shape=()),), outputs=(), batchable=False
    )
    tensor = Tensor(name="n", datatype="INT64", shape=[])
    arranged = RequestPlan(scalar).arranged([tensor], [np.int64(7).tobytes()])
    assert arranged.inputs[0] is not None
    assert arranged.inputs[0].shape == ()
    assert arranged.rows == 1


@pytest.mark.parametrize(
    ("tensors", "raws", "reason", "field"),
    [
        ([x(name="w"), mask()], [ROW, b"\1\2"], "INPUT_UNKNOWN", "inputs[0].name"),
        ([x(), x()], [ROW, ROW], "INPUT_DUPLICATE", "inputs[1].name"),
        ([x()], [ROW], "INPUT_MISSING", "inputs.mask"),
        ([x(datatype="FP64"), mask()], [ROW, b"\1\2"], "DATATYPE_WRONG", "inputs.x.datatype"),
        ([x(shape=[4]), mask()], [ROW, b"\1\2"], "RANK_WRONG", "inputs.x.shape"),
        ([x(shape=[1, 5]), mask()], [ROW, b"\1\2"], "SHAPE_WRONG", "inputs.x.shape"),
        ([x(shape=[-1, 4]), mask()], [ROW, b"\1\2"], "SHAPE_INVALID", "inputs.x.shape"),
        ([x(shape=[2, 4]), mask()], [ROW * 2, b"\1\2"], "ROWS_DIFFER", "inputs.mask.shape"),
        ([x(), mask()], [ROW[:-1], b"\1\2"], "BYTE_LENGTH_WRONG", "inputs.x"),
        ([x(), mask()], [ROW], "RAW_COUNT_WRONG", "raw_input_contents"),
        ([x(), mask()], [], "CONTENTS_INVALID", "inputs.x.contents.fp32_contents"),
        (
            [x(contents=pb.InferTensorContents(fp32_contents=[1] * 4)), mask()],
            [ROW, b"\1\2"],
            "CONTENTS_MIXED",
            "inputs.x.contents",
        ),
        ([x(), mask(shape=[1, 2**62])], [ROW, b"\1\2"], "SHAPE_INVALID", "inputs.mask.shape"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    tensors: list[Tensor], raws: list[bytes], reason: str, field: str
) -> None:
    with pytest.raises(InvalidError) as refusal:
        RequestPlan(SIGNATURE).arranged(tensors, raws)
    error = refusal.value
    assert (error.reason, error.metadata["field"]) == (reason, field)
    assert error.metadata.keys() >= {"expected", "got"}
    assert field in error.message


def test_unknown_and_repeated_outputs_are_refused() -> None:
    plan = RequestPlan(SIGNATURE)
    assert plan.wanted([]) == ("y", "z")
    assert plan.wanted(["z"]) == ("z",)
    with pytest.raises(InvalidError, match=r"outputs\[0\].name is w, expected y, z"):
        plan.wanted(["w"])
    with pytest.raises(InvalidError, match="each output once"):
        plan.wanted(["y", "y"])


def test_shared_memory_is_not_offered() -> None:
    tensor = x()
    tensor.parameters["shared_memory_region"].string_param = "r"
    with pytest.raises(UnsupportedError):
        RequestPlan(SIGNATURE).arranged([tensor, mask()], [b"\1\2"] * 2)


@given(
    tensors=st.lists(
        st.builds(
            Tensor,
            name=st.sampled_from(["x", "mask", "bias", "w", ""]),
            datatype=st.sampled_from([*DATATYPES, "", "FP8"]),
            shape=st.lists(st.integers(-1, 4) | st.sampled_from([2**62, -(2**63)]), max_size=4),
        ),
        max_size=4,
    ),
    raws=st.lists(st.binary(max_size=40) | st.just(ROW), max_size=4),
)
def test_any_other_call_is_refused_and_nothing_else(tensors: list[Tensor], raws: list[bytes]) -> None:
    try:
        outcome: Any = RequestPlan(SIGNATURE).arranged(tensors, raws)
    except InvalidError as error:
        outcome = error
    if isinstance(outcome, InvalidError):
        assert outcome.metadata.keys() >= {"field", "expected"}
    else:
        assert all(array is None or array.shape[0] == outcome.rows for array in outcome.inputs)


def test_reserved_parameters_are_read() -> None:
    request = pb.ModelInferRequest()
    request.parameters["priority"].uint64_param = 1
    request.parameters["timeout"].int64_param = 1_500_000
    request.parameters["mine"].string_param = "passes"
    read = call_parameters(request.parameters)
    assert (read.priority, read.timeout_s) == (1, 1.5)


@pytest.mark.parametrize("name", ["priority", "timeout", "triton_secret"])
def test_reserved_parameters_of_the_wrong_kind_are_refused(name: str) -> None:
    request = pb.ModelInferRequest()
    request.parameters[name].string_param = "1"
    with pytest.raises(InvalidError, match=f"parameters.{name}"):
        call_parameters(request.parameters)


def test_classification_counts_are_read_by_output() -> None:
    output = pb.ModelInferRequest.InferRequestedOutputTensor(name="y")
    output.parameters["classification"].int64_param = 3
    assert class_counts([output]) == {"y": 3}
    output.parameters["classification"].int64_param = 0
    with pytest.raises(InvalidError, match="1 or more"):
        class_counts([output])

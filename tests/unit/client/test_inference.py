"""Arrays into requests, answers into arrays."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.client import inference
from servemesh.errors import InvalidError

DTYPES = [np.bool_, np.uint8, np.int16, np.int64, np.float16, np.float32, np.float64]


def echoed(request: pb.ModelInferRequest) -> pb.ModelInferResponse:
    response = pb.ModelInferResponse(model_name="m", model_version="3", id=request.id)
    for tensor in request.inputs:
        response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
    response.raw_output_contents.extend(request.raw_input_contents)
    return response


@given(
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: arrays.arrays(
            dtype, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
        )
    )
)
def test_what_is_sent_comes_back_the_same(array):
    back = inference.result(echoed(inference.request("m", {"x": array})))["x"]
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    np.testing.assert_array_equal(back, array)


def test_big_endian_arrays_are_sent_little_endian():
    request = inference.request("m", {"x": np.array([1, 2], dtype=">i4")})
    assert request.raw_input_contents[0] == b"\1\0\0\0\2\0\0\0"


def test_bfloat16_is_carried():
    request = inference.request("m", {"x": np.array([1.5], dtype=ml_dtypes.bfloat16)})
    assert request.inputs[0].datatype == "BF16"


def test_text_becomes_bytes():
    request = inference.request("m", {"x": ["hé", "you"]})
    assert request.inputs[0].datatype == "BYTES"
    assert inference.result(echoed(request))["x"].tolist() == ["hé".encode(), b"you"]


def test_a_list_of_numbers_is_an_array():
    request = inference.request("m", {"x": [[1.0, 2.0]]})
    assert list(request.inputs[0].shape) == [1, 2]


def test_what_the_protocol_cannot_carry_is_refused():
    with pytest.raises(InvalidError, match="complex"):
        inference.request("m", {"x": np.array([1j])})


def test_version_outputs_and_parameters_are_sent():
    request = inference.request(
        "m", {}, version=3, outputs=["y"], parameters={"a": True, "b": 2, "c": 0.5, "d": "x", "e": 2**63}
    )
    assert request.model_version == "3"
    assert [output.name for output in request.outputs] == ["y"]
    assert request.parameters["a"].bool_param is True
    assert request.parameters["b"].int64_param == 2
    assert request.parameters["e"].uint64_param == 2**63


def test_a_result_says_who_answered():
    result = inference.result(echoed(inference.request("m", {"x": [1]})))
    assert (result.model, result.version, list(result), len(result)) == ("m", "3", ["x"], 1)


def test_typed_contents_are_read_too():
    response = pb.ModelInferResponse()
    tensor = response.outputs.add(name="y", datatype="FP32", shape=[2])
    tensor.contents.fp32_contents.extend([1.0, 2.0])
    assert inference.result(response)["y"].tolist() == [1.0, 2.0]


def test_an_answer_with_too_few_bytes_is_refused():
    response = pb.ModelInferResponse(raw_output_contents=[b"\0"])
    response.outputs.add(name="y", datatype="FP32", shape=[2])
    with pytest.raises(InvalidError, match="outputs"):
        inference.result(response)

"""Tensors travel between JSON and the protocol's messages as they are, whatever their datatype and shape."""

from __future__ import annotations

import math

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.errors import InvalidError
from servemesh.gateway.rest.api.answers import infer_answer
from servemesh.gateway.rest.api.infer import Wanted, infer_request
from servemesh.gateway.rest.domain import json_tensors
from servemesh.tensors import raw
from servemesh.tensors.datatypes import BYTES, DATATYPES

BOUND = 1 << 20
SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
TEXT = st.text(max_size=8).map(str.encode)


def values_of(datatype: str) -> st.SearchStrategy:
    dtype = DATATYPES[datatype].dtype
    if datatype == "BYTES":
        return TEXT
    if dtype.kind == "f":
        return arrays.from_dtype(dtype, allow_nan=False, allow_infinity=False)
    return arrays.from_dtype(dtype) if datatype != "BF16" else st.integers(-8, 8).map(dtype.type)


@st.composite
def tensors(draw: st.DrawFn) -> tuple[str, np.ndarray]:
    """A datatype, and an array of it."""
    name = draw(st.sampled_from(sorted(DATATYPES)))
    shape = draw(SHAPES)
    size = math.prod(shape)
    elements = draw(st.lists(values_of(name), min_size=size, max_size=size))
    array = np.empty(size, dtype=DATATYPES[name].dtype)
    for index, element in enumerate(elements):
        array[index] = element
    return name, array.reshape(shape)


@settings(max_examples=300, deadline=None)
@given(tensor=tensors(), nested=st.booleans(), as_binary=st.booleans())
def test_what_goes_in_as_json_comes_out_as_the_same_json(
    tensor: tuple[str, np.ndarray], nested: bool, as_binary: bool
) -> None:
    name, array = tensor
    message = sent(name, array, nested=nested, as_binary=as_binary or name in json_tensors.BINARY_ONLY)
    (data,) = message.raw_input_contents
    assert data == raw.encode(array)
    assert_same(raw.decode(data, DATATYPES[name], array.shape, "x"), array)
    response = pb.ModelInferResponse(model_name="m", model_version="1", raw_output_contents=[data])
    response.outputs.add(name="y", datatype=name, shape=array.shape)
    binary = as_binary or name in json_tensors.BINARY_ONLY
    answer = infer_answer(response, Wanted(default=binary), json_bytes_max=BOUND)
    size = int(answer.headers.get("Inference-Header-Content-Length", len(answer.body[0])))
    (output,) = orjson.loads(b"".join(answer.body)[:size])["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("y", name, list(array.shape))
    if binary:
        assert output["parameters"] == {"binary_data_size": len(data)}
        assert b"".join(answer.body)[size:] == data
    else:
        assert json_tensors.encoded(output["data"], DATATYPES[name], array.shape, "x") == data


def sent(name: str, array: np.ndarray, *, nested: bool, as_binary: bool) -> pb.ModelInferRequest:
    tensor = {"name": "x", "datatype": name, "shape": list(array.shape)}
    if as_binary:
        tail = raw.encode(array)
        head = orjson.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": len(tail)}}]})
        return infer_request("m", "", head + tail, len(head), json_bytes_max=BOUND).message
    shown = array if nested and array.ndim else array.reshape(-1)
    data = [element.decode() for element in shown.ravel()] if name == "BYTES" else shown.tolist()
    if name == "BYTES" and nested and array.ndim:
        data = np.array(data, dtype=object).reshape(array.shape).tolist()
    body = orjson.dumps({"inputs": [{**tensor, "data": data}]})
    return infer_request("m", "", body, None, json_bytes_max=BOUND).message


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("data", "datatype", "shape"),
    [
        ([1, 2, 3], "FP32", [2, 2]),
        ([[1, 2], [3]], "FP32", [2, 2]),
        ([[1, 2], 3], "INT32", [2, 2]),
        ([1, [2]], "INT32", [2]),
        ([[1], [2]], "INT32", [2]),
        ([[[1, 2]]], "INT32", [1, 2]),
        ([300], "INT8", [1]),
        ([-1], "UINT64", [1]),
        ([1.5], "INT32", [1]),
        ([2**64], "INT64", [1]),
        ([1e39], "FP32", [1]),
        ([True], "INT32", [1]),
        ([1], "BOOL", [1]),
        ([None], "FP32", [1]),
        (["1"], "FP32", [1]),
        ([1], "BYTES", [1]),
        ([1], "FP16", [1]),
        ([{}], "FP32", [1]),
    ],
)
def test_values_that_are_no_such_tensor_are_refused_with_the_place(
    data: list, datatype: str, shape: list
) -> None:
    with pytest.raises(InvalidError) as refused:
        json_tensors.encoded(data, DATATYPES[datatype], shape, "inputs[0].data")
    assert refused.value.reason == "CONTENTS_INVALID"
    assert refused.value.metadata["field"] == "inputs[0].data"


@pytest.mark.parametrize(
    ("datatype", "array"),
    [
        ("FP32", np.array([np.nan], np.float32)),
        ("FP64", np.array([np.inf])),
        ("FP16", np.array([1], np.float16)),
        ("BYTES", np.array([b"\xff"], dtype=object)),
    ],
)
def test_what_json_cannot_say_is_refused_not_changed(datatype: str, array: np.ndarray) -> None:
    with pytest.raises(InvalidError) as refused:
        json_tensors.decoded(raw.encode(array), DATATYPES[datatype], [1], "y")
    assert refused.value.reason == "OUTPUT_NEEDS_BINARY"
    assert "binary_data" in refused.value.message


def test_bytes_are_counted_in_the_message_not_in_the_text() -> None:
    assert json_tensors.encoded(["ü"], BYTES, [1], "x") == b"\x02\0\0\0\xc3\xbc"

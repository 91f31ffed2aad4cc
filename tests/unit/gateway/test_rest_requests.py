"""What an infer request says reaches the mesh, and what is wrong in it is named."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from servemesh.errors import InvalidError
from servemesh.gateway.rest.api.infer import Infer, infer_request
from servemesh.web.codes import BodyTooLargeError

INPUT = {"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2]}
BINARY = {"name": "x", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}


def read(document: Any, tail: bytes = b"", size: int | None = None) -> Infer:
    head = orjson.dumps(document)
    return infer_request("m", "3", head + tail, size or (len(head) if tail else None), json_bytes_max=1 << 20)


def test_everything_that_is_said_is_passed_on() -> None:
    found = read(
        {
            "id": "seven",
            "parameters": {
                "priority": 1,
                "timeout": 2_500_000,
                "big": 2**64 - 1,
                "share": 0.5,
                "on": True,
                "word": "yes",
                "binary_data_output": True,
            },
            "inputs": [INPUT, BINARY],
            "outputs": [
                {"name": "y", "parameters": {"classification": 2, "binary_data": False}},
                {"name": "z"},
            ],
        },
        b"12345678",
    )
    message = found.message
    assert (message.model_name, message.model_version, message.id) == ("m", "3", "seven")
    assert message.parameters["priority"].int64_param == 1
    assert message.parameters["big"].uint64_param == 2**64 - 1
    assert message.parameters["share"].double_param == 0.5
    assert message.parameters["on"].bool_param
    assert message.parameters["word"].string_param == "yes"
    assert "binary_data_output" not in message.parameters
    assert message.raw_input_contents[1] == b"12345678"
    assert message.outputs[0].parameters["classification"].int64_param == 2
    assert "binary_data" not in message.outputs[0].parameters
    assert not found.wanted.is_binary("y")
    assert found.wanted.is_binary("z")
    assert found.timeout_s == 2.5


def a_tensor(**changes: Any) -> dict[str, Any]:
    return {"inputs": [{**INPUT, **changes}]}


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], "body"),
        ({"id": 7, "inputs": [INPUT]}, "id"),
        ({"parameters": []}, "parameters"),
        ({"parameters": {"a": []}}, "parameters.a"),
        ({"parameters": {"binary_data_output": 1}}, "parameters.binary_data_output"),
        ({"inputs": {}}, "inputs"),
        ({"inputs": [INPUT, 1]}, "inputs[1]"),
        (a_tensor(name=1), "inputs[0].name"),
        (a_tensor(datatype="FLOAT"), "inputs[0].datatype"),
        (a_tensor(datatype=None), "inputs[0].datatype"),
        (a_tensor(shape=2), "inputs[0].shape"),
        (a_tensor(shape=[2, -1]), "inputs[0].shape[1]"),
        (a_tensor(shape=[2, True]), "inputs[0].shape[1]"),
        (a_tensor(shape=[1 << 62, 4]), "inputs[0].shape"),
        (a_tensor(shape=[1] * 33), "inputs[0].shape"),
        (a_tensor(data=None), "inputs[0].data"),
        (a_tensor(data=1), "inputs[0].data"),
        (a_tensor(parameters=[]), "inputs[0].parameters"),
        (a_tensor(parameters={"binary_data_size": 8}), "inputs[0].parameters.binary_data_size"),
        ({"inputs": [INPUT], "outputs": [{"name": []}]}, "outputs[0].name"),
        ({"outputs": [{"name": "y", "parameters": {"binary_data": 1}}]}, "outputs[0].parameters.binary_data"),
    ],
)
def test_a_wrong_part_is_named(document: Any, field: str) -> None:
    with pytest.raises(InvalidError) as refused:
        read(document)
    assert refused.value.metadata["field"] == field
    assert field in refused.value.message


@pytest.mark.parametrize(
    ("parameters", "tail", "field"),
    [
        ({"binary_data_size": 8}, b"1234567", "inputs[0].parameters.binary_data_size"),
        ({"binary_data_size": 8}, b"123456789", "body"),
        ({"binary_data_size": 7}, b"1234567", "inputs[0].parameters.binary_data_size"),
        ({"binary_data_size": -8}, b"12345678", "inputs[0].parameters.binary_data_size"),
        ({"binary_data_size": "8"}, b"12345678", "inputs[0].parameters.binary_data_size"),
    ],
)
def test_binary_data_that_does_not_fit_is_named(parameters: dict, tail: bytes, field: str) -> None:
    with pytest.raises(InvalidError) as refused:
        read({"inputs": [{**BINARY, "parameters": parameters}]}, tail)
    assert refused.value.metadata["field"] == field


def test_a_body_shorter_than_its_json_is_refused() -> None:
    with pytest.raises(InvalidError) as refused:
        read({"inputs": [INPUT]}, size=10_000)
    assert refused.value.metadata["field"] == "Inference-Header-Content-Length"


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, b'{"inputs": [NaN]}', b"nonsense"])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidError) as refused:
        infer_request("m", "", body, None, json_bytes_max=1 << 20)
    assert refused.value.reason == "DOCUMENT_MALFORMED"


def test_more_json_than_allowed_is_not_read() -> None:
    with pytest.raises(BodyTooLargeError):
        infer_request("m", "", b"[" * 100, None, json_bytes_max=99)

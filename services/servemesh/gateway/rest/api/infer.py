"""The body of an infer request as a ModelInferRequest: JSON, with binary tensor data behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.errors import InvalidError
from servemesh.gateway.rest.domain import json_tensors
from servemesh.gateway.rest.domain.documents import (
    INT64_MAX,
    flag_at,
    list_at,
    malformed,
    object_at,
    size_at,
    text_at,
)
from servemesh.tensors import datatypes
from servemesh.tensors.shapes import elements_of
from servemesh.web.codes import BodyTooLargeError

BINARY_SIZE, BINARY, BINARY_DEFAULT = "binary_data_size", "binary_data", "binary_data_output"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which outputs are to come as binary tensor data."""

    default: bool = False
    by_output: Mapping[str, bool] = field(default_factory=dict)

    def is_binary(self, output: str) -> bool:
        """Whether this one is."""
        return self.by_output.get(output, self.default)


@dataclass(frozen=True, slots=True, kw_only=True)
class Infer:
    """What one infer request asks for."""

    message: pb.ModelInferRequest
    wanted: Wanted
    timeout_s: float | None
    """The request parameter `timeout`, if it is given."""


def parsed(body: bytes | memoryview, json_bytes_max: int) -> dict[str, Any]:
    """Return the JSON object in a body; nothing at all is an empty one."""
    if len(body) > json_bytes_max:
        raise BodyTooLargeError(
            f"the JSON has {len(body)} bytes, at most {json_bytes_max}: send tensors as binary tensor data",
            reason="JSON_TOO_LARGE",
            json_bytes_max=json_bytes_max,
        )
    if not body:
        return {}
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidError(
            f"the body is no JSON at character {error.pos}",
            reason="DOCUMENT_MALFORMED",
            field="body",
            got=error.pos,
        ) from None
    if type(document) is not dict:
        raise malformed("body", "an object", document)
    return document


def infer_request(
    model: str, version: str, body: bytes, json_size: int | None, *, json_bytes_max: int
) -> Infer:
    """Return the call that a request body stands for. InvalidError names the part that is wrong."""
    view = memoryview(body)
    if json_size is not None and json_size > len(body):
        raise malformed(
            "Inference-Header-Content-Length", f"at most {len(body)}, the size of the body", json_size
        )
    document = parsed(view[:json_size], json_bytes_max)
    message = pb.ModelInferRequest(
        model_name=model, model_version=version, id=text_at(document.get("id"), "id")
    )
    given = object_at(document.get("parameters"), "parameters")
    _fill(message.parameters, given, "parameters", ignored=(BINARY_DEFAULT,))
    _add_inputs(
        message,
        list_at(document.get("inputs"), "inputs"),
        view[json_size:] if json_size is not None else view[:0],
    )
    wanted = Wanted(
        default=flag_at(given.get(BINARY_DEFAULT), f"parameters.{BINARY_DEFAULT}"),
        by_output=_add_outputs(message, list_at(document.get("outputs"), "outputs")),
    )
    timeout_us = given.get("timeout", 0)
    has_timeout = type(timeout_us) is int and timeout_us > 0
    return Infer(message=message, wanted=wanted, timeout_s=timeout_us / 1e6 if has_timeout else None)


def _add_inputs(message: pb.ModelInferRequest, inputs: list[Any], tail: memoryview) -> None:
    position = 0
    for index, value in enumerate(inputs):
        place = f"inputs[{index}]"
        tensor = object_at(value, place)
        parameters = object_at(tensor.get("parameters"), f"{place}.parameters")
        added = message.inputs.add(
            name=text_at(tensor.get("name"), f"{place}.name"),
            datatype=text_at(tensor.get("datatype"), f"{place}.datatype"),
            shape=_shape(tensor, place),
        )
        _fill(added.parameters, parameters, f"{place}.parameters", ignored=(BINARY_SIZE,))
        datatype = datatypes.named(added.datatype, f"{place}.datatype")
        if BINARY_SIZE in parameters:
            size = _binary_size(parameters[BINARY_SIZE], added, datatype, place, has_data="data" in tensor)
            if position + size > len(tail):
                raise malformed(
                    f"{place}.parameters.{BINARY_SIZE}",
                    f"at most the {len(tail) - position} bytes that are left",
                    size,
                )
            message.raw_input_contents.append(tail[position : position + size].tobytes())
            position += size
        else:
            data = tensor.get("data")
            if type(data) is not list:
                raise malformed(f"{place}.data", f"an array, or {BINARY_SIZE} in the parameters", data)
            message.raw_input_contents.append(
                json_tensors.encoded(data, datatype, added.shape, f"{place}.data")
            )
    if position != len(tail):
        raise malformed("body", f"{position} bytes of binary tensor data, as the inputs say", len(tail))


def _binary_size(value: Any, tensor: Any, datatype: datatypes.Datatype, place: str, *, has_data: bool) -> int:
    field = f"{place}.parameters.{BINARY_SIZE}"
    if has_data:
        raise malformed(field, "nothing beside data", value)
    size = size_at(value, field)
    elements = elements_of(tensor.shape, f"{place}.shape")
    if datatype.size_bytes and size != elements * datatype.size_bytes:
        raise malformed(
            field, f"{elements * datatype.size_bytes} for {datatype.name} {list(tensor.shape)}", size
        )
    return size


def _shape(tensor: dict[str, Any], place: str) -> list[int]:
    shape = tensor.get("shape")
    if type(shape) is not list:
        raise malformed(f"{place}.shape", "an array", shape)
    return [size_at(size, f"{place}.shape[{index}]") for index, size in enumerate(shape)]


def _add_outputs(message: pb.ModelInferRequest, outputs: list[Any]) -> dict[str, bool]:
    """Add the outputs that are asked for; return which of them say how they are to come."""
    by_output = {}
    for index, value in enumerate(outputs):
        place = f"outputs[{index}]"
        output = object_at(value, place)
        parameters = object_at(output.get("parameters"), f"{place}.parameters")
        added = message.outputs.add(name=text_at(output.get("name"), f"{place}.name"))
        _fill(added.parameters, parameters, f"{place}.parameters", ignored=(BINARY,))
        if BINARY in parameters:
            by_output[added.name] = flag_at(parameters[BINARY], f"{place}.parameters.{BINARY}")
    return by_output


def _fill(target: Any, parameters: dict[str, Any], place: str, *, ignored: tuple[str, ...]) -> None:
    """Copy parameters into a message's map, but those that are about HTTP alone."""
    for name, value in parameters.items():
        if name in ignored:
            continue
        kind = type(value)
        if kind is bool:
            target[name].bool_param = value
        elif kind is int and value <= INT64_MAX:
            target[name].int64_param = value
        elif kind is int:
            target[name].uint64_param = value
        elif kind is float:
            target[name].double_param = value
        elif kind is str:
            target[name].string_param = value
        else:
            raise malformed(f"{place}.{name}", "a number, a text, true or false", value)

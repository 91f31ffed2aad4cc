"""Answers of the mesh as bodies: JSON, with binary tensor data behind it where that was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from google.protobuf.message import Message

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.errors import OverloadedError
from servemesh.gateway.rest.api.infer import BINARY_SIZE, Wanted
from servemesh.gateway.rest.domain import json_tensors
from servemesh.tensors import datatypes

JSON, BINARY = "application/json", "application/octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back over HTTP. A body in pieces is sent as one."""

    status: int = 200
    body: tuple[bytes, ...] = ()
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


def json_answer(document: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer of JSON alone."""
    body = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    return Answer(status=status, body=(body,), content_type=JSON, headers=headers or {})


def infer_answer(response: pb.ModelInferResponse, wanted: Wanted, *, json_bytes_max: int) -> Answer:
    """Return the outputs as they were asked for."""
    document: dict[str, Any] = {"model_name": response.model_name, "model_version": response.model_version}
    if response.id:
        document["id"] = response.id
    if response.parameters:
        document["parameters"] = _parameters(response.parameters)
    outputs, tail, json_size = [], [], 0
    for output, data in zip(response.outputs, response.raw_output_contents, strict=True):
        described: dict[str, Any] = {
            "name": output.name,
            "datatype": output.datatype,
            "shape": list(output.shape),
        }
        parameters = _parameters(output.parameters)
        if wanted.is_binary(output.name):
            parameters[BINARY_SIZE] = len(data)
            tail.append(data)
        else:
            json_size += len(data)
            if json_size > json_bytes_max:
                raise _too_large(output.name, json_bytes_max)
            datatype = datatypes.named(output.datatype)
            described["data"] = json_tensors.decoded(data, datatype, output.shape, output.name)
        if parameters:
            described["parameters"] = parameters
        outputs.append(described)
    document["outputs"] = outputs
    if not tail:
        return json_answer(document)
    head = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return Answer(body=(head, *tail), content_type=BINARY, headers=headers)


def plain(message: Message, *, absent: bool = False) -> dict[str, Any]:
    """Return a message as JSON can say it: names as in the proto, numbers as numbers, enums by name.

    Messages that are not set are left out, or with `absent` said as if they were empty.
    """
    document: dict[str, Any] = {}
    for descriptor in message.DESCRIPTOR.fields:
        value = getattr(message, descriptor.name)
        if descriptor.message_type and descriptor.message_type.GetOptions().map_entry:
            of_value = descriptor.message_type.fields_by_name["value"]
            document[descriptor.name] = {
                str(key): _plain_value(of_value, each, absent) for key, each in value.items()
            }
        elif descriptor.is_repeated:
            document[descriptor.name] = [_plain_value(descriptor, each, absent) for each in value]
        elif (
            not descriptor.has_presence
            or message.HasField(descriptor.name)
            or (absent and not descriptor.containing_oneof)
        ):
            document[descriptor.name] = _plain_value(descriptor, value, absent)
    return document


def _plain_value(descriptor: Any, value: Any, absent: bool) -> Any:
    if descriptor.message_type:
        return plain(value, absent=absent)
    if descriptor.enum_type:
        known = descriptor.enum_type.values_by_number.get(value)
        return known.name if known else value
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _parameters(given: Mapping[str, pb.InferParameter]) -> dict[str, Any]:
    return {
        name: getattr(each, each.WhichOneof("parameter_choice") or "bool_param")
        for name, each in given.items()
    }


def _too_large(name: str, json_bytes_max: int) -> OverloadedError:
    return OverloadedError(
        f"output {name!r} makes the answer larger than {json_bytes_max} bytes of tensors, the most that is sent "
        "as JSON: ask for binary_data",
        reason="RESPONSE_TOO_LARGE",
        retry_after_s=None,
        json_bytes_max=json_bytes_max,
    )

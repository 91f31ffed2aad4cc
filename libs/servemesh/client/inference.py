"""Inference requests built from arrays, and answers read into arrays."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.client.results import InferResult, Tensor
from servemesh.client.steps import Call, Operation
from servemesh.errors import InvalidError
from servemesh.tensors import contents, datatypes, raw

Parameter = bool | int | float | str


def request(
    model: str,
    inputs: Mapping[str, ArrayLike],
    *,
    version: str | int = "",
    outputs: Sequence[str] | None = None,
    parameters: Mapping[str, Parameter] | None = None,
) -> pb.ModelInferRequest:
    """Return the message that asks `model` to run on `inputs`; InvalidError for an array OIP cannot carry."""
    message = pb.ModelInferRequest(model_name=model, model_version=str(version), id=uuid.uuid4().hex)
    for name, value in inputs.items():
        array = np.asarray(value)
        message.inputs.add(name=name, datatype=datatypes.of_array(array).name, shape=array.shape)
        message.raw_input_contents.append(raw.encode(array))
    for name in outputs or ():
        message.outputs.add(name=name)
    for key, parameter in (parameters or {}).items():
        setattr(message.parameters[key], _kind_of(key, parameter), parameter)
    return message


def result(message: pb.ModelInferResponse) -> InferResult:
    """Return the arrays in `message`; InvalidError if its bytes do not match its shapes."""
    outputs: dict[str, np.ndarray[Any, Any]] = {}
    for index, tensor in enumerate(message.outputs):
        field = f"outputs[{index}]"
        datatype = datatypes.named(tensor.datatype, f"{field}.datatype")
        if index < len(message.raw_output_contents):
            data = message.raw_output_contents[index]
            outputs[tensor.name] = raw.decode(data, datatype, tensor.shape, field)
        else:
            outputs[tensor.name] = contents.decode(tensor.contents, datatype, tensor.shape, field)
    return InferResult(
        outputs=outputs,
        model=message.model_name,
        version=message.model_version,
        id=message.id,
        parameters={
            key: getattr(value, value.WhichOneof("parameter_choice"))
            for key, value in message.parameters.items()
            if value.WhichOneof("parameter_choice")
        },
    )


def infer(message: pb.ModelInferRequest) -> Operation[InferResult]:
    """Run one inference."""
    return result((yield Call(request=message)))


def signature(model: str, version: str | int = "") -> Operation[tuple[Tensor, ...]]:
    """Return the inputs of a deployed model."""
    answer = yield Call(request=pb.ModelMetadataRequest(name=model, version=str(version)))
    return tuple(
        Tensor(name=tensor.name, datatype=tensor.datatype, shape=tuple(tensor.shape))
        for tensor in answer.inputs
    )


def _kind_of(key: str, parameter: Parameter) -> str:
    if isinstance(parameter, bool):
        return "bool_param"
    if isinstance(parameter, int):
        return "int64_param" if parameter < 2**63 else "uint64_param"
    if isinstance(parameter, float):
        return "double_param"
    if isinstance(parameter, str):
        return "string_param"
    raise InvalidError(
        f"parameter {key!r} is a {type(parameter).__name__}, expected bool, int, float or str",
        reason="PARAMETER_INVALID",
        field=f"parameters[{key}]",
        expected="bool, int, float or str",
        got=type(parameter).__name__,
    )

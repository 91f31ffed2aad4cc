"""Requests with one fault each, made up by a seeded source: every one must be refused, with what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import numpy as np
import onnx
from onnx import TensorProto, helper

from servemesh.api.oip.v2 import inference_pb2 as pb

Tensor = pb.ModelInferRequest.InferInputTensor
MODEL = "pair"
WIDTHS = {"x": 4, "mask": 2}
DATATYPES = {"x": "FP32", "mask": "INT32"}
OUTPUTS = {"x": "y", "mask": "z"}


def pair() -> onnx.ModelProto:
    """Return a model of two inputs that gives both back: `x` FP32 [rows, 4] as `y`, `mask` INT32 [rows, 2] as `z`."""
    elements = {"x": TensorProto.FLOAT, "mask": TensorProto.INT32}

    def value(name: str, of: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, elements[of], ("rows", WIDTHS[of]))

    graph = helper.make_graph(
        [helper.make_node("Identity", [name], [OUTPUTS[name]]) for name in WIDTHS],
        "pair",
        [value(name, name) for name in WIDTHS],
        [value(OUTPUTS[name], name) for name in WIDTHS],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def good(chance: Random) -> pb.ModelInferRequest:
    """Return a request that is right, of a few rows."""
    rows = chance.randrange(1, 5)
    x = np.array([[chance.random() for _ in range(4)] for _ in range(rows)], np.float32)
    mask = np.array([[chance.randrange(100) for _ in range(2)] for _ in range(rows)], np.int32)
    return pb.ModelInferRequest(
        model_name=MODEL,
        inputs=[
            Tensor(name=name, datatype=DATATYPES[name], shape=array.shape)
            for name, array in (("x", x), ("mask", mask))
        ],
        raw_input_contents=[x.tobytes(), mask.tobytes()],
    )


def is_answer(request: pb.ModelInferRequest, answer: pb.ModelInferResponse) -> bool:
    """Whether a right request has got its own rows back."""
    return list(answer.raw_output_contents) == list(request.raw_input_contents)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """A request, and what its refusal must name; `field` is empty where no model is found."""

    kind: str
    request: pb.ModelInferRequest
    field: str


Fault = Callable[[Random, pb.ModelInferRequest], str]


def bad(chance: Random) -> Bad:
    """Return a request with one fault."""
    kind, fault = chance.choice(FAULTS)
    request = good(chance)
    field = fault(chance, request)
    return Bad(kind=kind, request=request, field=field)


def _word(chance: Random) -> str:
    letters = "abcxyz_019 /%\u00e9\u4e2d\U0001f600-" + "\n"
    return "".join(chance.choice(letters) for _ in range(chance.choice((1, 3, 20, 300)))) + "?"


def _model(chance: Random, request: pb.ModelInferRequest) -> str:
    request.model_name = _word(chance)
    return ""


def _version(chance: Random, request: pb.ModelInferRequest) -> str:
    request.model_version = chance.choice(("99", "-1", "0", _word(chance)))
    return ""


def _name(chance: Random, request: pb.ModelInferRequest) -> str:
    index = chance.randrange(2)
    request.inputs[index].name = _word(chance)
    return f"inputs[{index}].name"


def _datatype(chance: Random, request: pb.ModelInferRequest) -> str:
    tensor = chance.choice(request.inputs)
    others = ("FP64", "BYTES", "fp32", "", "BF16", "UINT8", "BOOL", _word(chance))
    tensor.datatype = chance.choice(others)
    return f"inputs.{tensor.name}.datatype"


def _rank(chance: Random, request: pb.ModelInferRequest) -> str:
    tensor = chance.choice(request.inputs)
    size = chance.choice((0, 1, 3, 5, 40, 2_000))
    tensor.shape[:] = [chance.randrange(1, 3) for _ in range(size)]
    return f"inputs.{tensor.name}.shape"


def _dimension(chance: Random, request: pb.ModelInferRequest) -> str:
    tensor = chance.choice(request.inputs)
    tensor.shape[1] = chance.choice((0, 1, 5, -1, -(2**63), 2**63 - 1, 2**45))
    return f"inputs.{tensor.name}.shape"


def _rows(chance: Random, request: pb.ModelInferRequest) -> str:
    request.inputs[0].shape[0] = chance.choice((-1, -(2**63), 2**62, 2**45, 2**63 - 1))
    return "inputs.x.shape"


def _length(chance: Random, request: pb.ModelInferRequest) -> str:
    index = chance.randrange(2)
    data = request.raw_input_contents[index]
    request.raw_input_contents[index] = chance.choice(
        (b"", data[:-1], data[:-4], data + b"\0", data + data, data[: chance.randrange(len(data))])
    )
    return f"inputs.{request.inputs[index].name}"


def _rows_differ(chance: Random, request: pb.ModelInferRequest) -> str:
    request.inputs[1].shape[0] += 1
    request.raw_input_contents[1] += bytes(8)
    return "inputs.mask.shape"


def _duplicate(chance: Random, request: pb.ModelInferRequest) -> str:
    index = chance.randrange(2)
    request.inputs.append(request.inputs[index])
    request.raw_input_contents.append(request.raw_input_contents[index])
    return "inputs[2].name"


def _missing(chance: Random, request: pb.ModelInferRequest) -> str:
    index = chance.randrange(2)
    name = request.inputs[index].name
    del request.inputs[index], request.raw_input_contents[index]
    return f"inputs.{name}"


def _extra(chance: Random, request: pb.ModelInferRequest) -> str:
    request.inputs.append(Tensor(name=_word(chance), datatype="FP32", shape=[1, 1]))
    request.raw_input_contents.append(bytes(4))
    return "inputs[2].name"


def _raw_count(chance: Random, request: pb.ModelInferRequest) -> str:
    if chance.random() < 0.5:
        request.raw_input_contents.append(b"")
    else:
        del request.raw_input_contents[1]
    return "raw_input_contents"


def _mixed(chance: Random, request: pb.ModelInferRequest) -> str:
    request.inputs[0].contents.fp32_contents[:] = [1.0] * 4
    return "inputs.x.contents"


def _typed(chance: Random, request: pb.ModelInferRequest) -> str:
    del request.raw_input_contents[:]
    rows = request.inputs[0].shape[0]
    request.inputs[1].contents.int_contents[:] = [1] * (2 * rows)
    if chance.random() < 0.5:
        request.inputs[0].contents.fp64_contents[:] = [1.0] * (4 * rows)
        return "inputs.x.contents.fp64_contents"
    request.inputs[0].contents.fp32_contents[:] = [1.0] * (4 * rows + chance.choice((-1, 1, 100)))
    return "inputs.x.contents.fp32_contents"


def _output(chance: Random, request: pb.ModelInferRequest) -> str:
    request.outputs.add(name=_word(chance))
    return "outputs[0].name"


def _output_twice(chance: Random, request: pb.ModelInferRequest) -> str:
    for _ in range(2):
        request.outputs.add(name="y")
    return "outputs[1].name"


def _reserved(chance: Random, request: pb.ModelInferRequest) -> str:
    name = chance.choice(("triton_secret", "priority", "timeout"))
    request.parameters[name].string_param = "1"
    return f"parameters.{name}"


FAULTS: tuple[tuple[str, Fault], ...] = (
    ("unknown model", _model),
    ("unknown version", _version),
    ("wrong name", _name),
    ("wrong datatype", _datatype),
    ("wrong rank", _rank),
    ("wrong dimension", _dimension),
    ("absurd rows", _rows),
    ("wrong byte length", _length),
    ("rows differ", _rows_differ),
    ("duplicate input", _duplicate),
    ("missing input", _missing),
    ("extra input", _extra),
    ("wrong number of raw contents", _raw_count),
    ("raw and typed contents", _mixed),
    ("wrong typed contents", _typed),
    ("unknown output", _output),
    ("duplicate output", _output_twice),
    ("reserved parameter", _reserved),
)

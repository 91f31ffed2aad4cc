"""Files that an attacker, or bad luck, might push: none of them may be loaded, and none may hurt the registry."""

from __future__ import annotations

import io
import zipfile

import onnx
from onnx import TensorProto, helper

from tests.harness.models import identity

# Written out opcode by opcode: nothing in this repository imports a pickler.
PICKLE = (
    b"\x80\x04\x95\x1c"
    + bytes(7)
    + b"\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x02id\x94\x85\x94R\x94."
)


def torch_checkpoint() -> bytes:
    """Return what torch.save writes: a zip with a pickle in it."""
    return _zipped({"archive/data.pkl": PICKLE, "archive/version": b"3\n", "archive/data/0": b"\0" * 64})


def keras_archive() -> bytes:
    """Return the frame of a .keras file."""
    return _zipped({"metadata.json": b"{}", "config.json": b"{}", "model.weights.h5": b"\x89HDF\r\n\x1a\n"})


def with_external_data(location: str) -> onnx.ModelProto:
    """Return a model whose 16 weights lie at `location`."""
    model = identity(shape=("rows", 16))
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[16])
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=location)
    model.graph.initializer.append(weights)
    model.graph.node[0].CopyFrom(helper.make_node("Add", ["x", "w"], ["y"]))
    return model


def with_external_constant(location: str) -> onnx.ModelProto:
    """Return a model that hides external data in a constant inside a branch."""
    hidden = with_external_data(location).graph.initializer[0]
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["z"], value=hidden)],
        "branch",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, (16,))],
    )
    model = identity()
    model.graph.node.append(
        helper.make_node("If", ["yes"], ["unused"], then_branch=branch, else_branch=branch)
    )
    model.graph.initializer.append(helper.make_tensor("yes", TensorProto.BOOL, (), [True]))
    return model


def with_custom_operator() -> onnx.ModelProto:
    """Return a model that needs a library of somebody's own."""
    model = identity()
    model.graph.node[0].CopyFrom(helper.make_node("Magic", ["x"], ["y"], domain="my.company"))
    model.opset_import.append(helper.make_opsetid("my.company", 1))
    return model


def nested(depth: int) -> bytes:
    """Return an ONNX file whose graphs lie `depth` deep in each other, written without recursion."""
    graph = b""
    for _ in range(depth):
        attribute = _field(1, b"then_branch") + _field(6, graph) + b"\xa0\x01\x05"
        graph = _field(1, _field(4, b"If") + _field(5, attribute)) + _field(2, b"g")
    return b"\x08\x08" + _field(7, graph) + _field(8, b"\x10\x11")


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def _zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)  # of a fixed date: the same bytes each time
    return buffer.getvalue()

"""Reads ONNX files with the onnx package, without their external data, into descriptions for the domain."""

from __future__ import annotations

import math
import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from servemesh.errors import InvalidError
from servemesh.formats import HEAD_BYTES, FileSample, foreign_format
from servemesh.registry.adapters import onnx_skeleton
from servemesh.registry.domain import protobuf_outline
from servemesh.registry.domain.onnx_models import (
    Dimension,
    ExternalTensor,
    FileDescription,
    ModelDescription,
    ValueDescription,
)

DEFAULT_DOMAIN = "ai.onnx"
MODEL_BYTES_MAX = 2**31 - 1  # protobuf refuses more
ZIP_MEMBERS_MAX = 4_096
FAULT_CHARS_MAX = 300
_MODEL_FIELDS = frozenset(onnx.ModelProto.DESCRIPTOR.fields_by_number)
_IR_VERSION, _OPSETS, _GRAPH = 1, 8, 7
_EXTERNAL_KEYS = {"location", "offset", "length", "checksum"}
_BITS = {21: 4, 22: 4, 23: 4, 25: 2, 26: 2, 27: 6, 28: 6}  # of element types that are packed


def file_description(path: str, staged: Path) -> FileDescription:
    """Tell what the staged file of `path` is, by its content."""
    with opened(staged) as file:
        size_bytes = os.fstat(file.fileno()).st_size

        def read(offset: int, length: int) -> bytes:
            return os.pread(file.fileno(), length, offset)

        head = read(0, HEAD_BYTES)
        sample = FileSample(path=path, size_bytes=size_bytes, head=head, members=_members(file, head))
        found = protobuf_outline.outline(read, size_bytes)
    is_onnx = found.fault is None and {_GRAPH} <= found.fields <= _MODEL_FIELDS
    is_onnx = is_onnx and bool(found.fields & {_IR_VERSION, _OPSETS})
    if is_onnx:
        return FileDescription(path=path, size_bytes=size_bytes, is_onnx=True)
    foreign = foreign_format(sample)
    begins_like_onnx = path.endswith(".onnx") and found.first in (_IR_VERSION, _OPSETS)
    damage = found.fault or "it has no graph"
    return FileDescription(
        path=path,
        size_bytes=size_bytes,
        foreign=foreign,
        damage=damage if begins_like_onnx and foreign is None else "",
    )


def model_description(path: str, staged: Path) -> ModelDescription:
    """Read the ONNX model in the staged file of `path`; InvalidError if it cannot be read."""
    model = _parsed(path, staged)
    graph = model.graph
    defaults = {tensor.name for tensor in graph.initializer}
    defaults |= {sparse.values.name for sparse in graph.sparse_initializer}
    external = tuple(_external(tensor) for tensor in onnx_skeleton.tensors(model) if _is_external(tensor))
    operators = dict(_operators(model))
    opsets = {entry.domain or DEFAULT_DOMAIN: entry.version for entry in model.opset_import}
    inputs = tuple(_value(value) for value in graph.input if value.name not in defaults)
    defaulted = tuple(value.name for value in graph.input if value.name in defaults)
    ir_version = model.ir_version
    skeleton = onnx_skeleton.without_weights(model)
    outputs = onnx_skeleton.outputs_with_shapes(skeleton)
    fault = onnx_skeleton.fault_of(skeleton)[:FAULT_CHARS_MAX]
    return ModelDescription(
        ir_version=ir_version,
        opsets=opsets,
        inputs=inputs,
        outputs=tuple(_value(value) for value in outputs),
        defaulted=defaulted,
        external=external,
        operators=operators,
        fault=fault,
    )


def opened(staged: Path) -> Any:
    """Open a staged file for reading, if it is a plain file that nobody else has linked to."""
    descriptor = os.open(staged, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        os.close(descriptor)
        raise InvalidError("a file of the artifact is a link, expected plain files", reason="LINK_REFUSED")
    return os.fdopen(descriptor, "rb")


def _members(file: Any, head: bytes) -> tuple[str, ...]:
    if not head.startswith(b"PK"):
        return ()
    try:
        with zipfile.ZipFile(file) as archive:
            return tuple(archive.namelist()[:ZIP_MEMBERS_MAX])
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return ()


def _parsed(path: str, staged: Path) -> Any:
    model = onnx.ModelProto()
    try:
        with opened(staged) as file:
            if os.fstat(file.fileno()).st_size > MODEL_BYTES_MAX:
                raise _too_large(path)
            model.ParseFromString(file.read())
    except DecodeError as error:
        raise InvalidError(
            f"{path} begins like an ONNX file but cannot be read: it is damaged, or graphs are nested too deep in it",
            reason="MODEL_UNREADABLE",
            path=path,
        ) from error
    except MemoryError as error:
        raise _too_large(path) from error
    return model


def _too_large(path: str) -> InvalidError:
    return InvalidError(
        f"{path} is too large to be one ONNX file: save its weights beside it with "
        "onnx.save(model, path, save_as_external_data=True, location='weights.bin') and push the folder",
        reason="MODEL_TOO_LARGE",
        path=path,
    )


def _operators(model: Any) -> Iterator[tuple[str, str]]:
    defined = {(function.domain, function.name) for function in model.functions}
    for node in onnx_skeleton.nodes(model):
        if (node.domain, node.op_type) not in defined:
            yield node.domain or DEFAULT_DOMAIN, node.op_type


def _is_external(tensor: Any) -> bool:
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data)


def _external(tensor: Any) -> ExternalTensor:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    bits = _BITS.get(tensor.data_type) or 8 * _item_bytes(tensor.data_type)
    return ExternalTensor(
        name=tensor.name,
        location=entries.get("location", ""),
        offset=entries.get("offset", ""),
        length=entries.get("length", ""),
        unknown_keys=tuple(sorted(set(entries) - _EXTERNAL_KEYS)),
        needed_bytes=-(-math.prod(tensor.dims) * bits // 8) if min(tensor.dims, default=0) >= 0 else -1,
    )


def _item_bytes(data_type: int) -> int:
    try:
        return int(onnx.helper.tensor_dtype_to_np_dtype(data_type).itemsize)
    except (KeyError, ValueError, TypeError):
        return 1


def _value(value: Any) -> ValueDescription:
    kind = (value.type.WhichOneof("value") or "").removesuffix("_type")
    if kind != "tensor":
        return ValueDescription(name=value.name, kind=kind)
    tensor = value.type.tensor_type
    shape = tuple(_dimension(size) for size in tensor.shape.dim) if tensor.HasField("shape") else None
    return ValueDescription(name=value.name, kind=kind, elem_type=tensor.elem_type, shape=shape)


def _dimension(size: Any) -> Dimension:
    if size.dim_param:
        return str(size.dim_param)
    return int(size.dim_value) if size.HasField("dim_value") else None

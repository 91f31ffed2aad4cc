"""What admission needs to know of an ONNX file, as plain values that a reader fills in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from servemesh.formats import ForeignFormat

Dimension = int | str | None
"""A size, the name of a size, or None where neither is given. Old exporters write 0 for "any"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueDescription:
    """One input or output. `kind` is ONNX's word for its type, "" if it has none; `shape` is None if unknown."""

    name: str
    kind: str
    elem_type: int = 0
    shape: tuple[Dimension, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalTensor:
    """A tensor whose bytes lie in another file, as the model states it."""

    name: str
    location: str
    offset: str
    length: str
    unknown_keys: tuple[str, ...]
    needed_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """One ONNX model without its weights.

    `inputs` leaves out those that have a default in the model (`defaulted`), as onnxruntime's get_inputs does.
    `operators` has one operator type for each domain that the model uses without defining it.
    """

    ir_version: int
    opsets: Mapping[str, int]
    inputs: tuple[ValueDescription, ...]
    outputs: tuple[ValueDescription, ...]
    defaulted: tuple[str, ...]
    external: tuple[ExternalTensor, ...]
    operators: Mapping[str, str]
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDescription:
    """One file of an artifact: an ONNX model (whole or damaged), a format known but not served, or neither."""

    path: str
    size_bytes: int
    is_onnx: bool = False
    damage: str = ""
    foreign: ForeignFormat | None = None

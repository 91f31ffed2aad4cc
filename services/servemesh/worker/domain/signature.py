"""What a Version takes and gives: the names, types and shapes that every call is held against."""

from __future__ import annotations

from dataclasses import dataclass

ANY_SIZE = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """Name, OIP datatype and dimensions of one tensor; ANY_SIZE where the model takes any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Inputs and outputs in the order of the model.

    `batchable` means that axis 0 of every input and output is the batch, so that rows of several calls may
    run together.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batchable: bool
    format: str = "onnx"

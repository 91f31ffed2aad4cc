"""Holds the tensors of a call against the signature, and brings them into its order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from servemesh.errors import InvalidError, UnsupportedError
from servemesh.tensors import contents, raw
from servemesh.tensors.datatypes import DATATYPES, Datatype
from servemesh.worker.domain.signature import ANY_SIZE, Signature, TensorSpec

Array = np.ndarray[Any, Any]


class WireTensor(Protocol):
    """An input as the protocol carries it: the message InferInputTensor."""

    name: str
    datatype: str
    shape: Sequence[int]
    parameters: Any
    contents: Any

    def HasField(self, name: str) -> bool:  # noqa: N802 - protobuf's name
        """Whether the field is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arranged:
    """The inputs of a valid call in the order of the signature, None where an optional one is left out."""

    inputs: list[Array | None]
    rows: int


class RequestPlan:
    """A signature made ready for holding calls against it: one per slot, used by every call."""

    def __init__(self, signature: Signature) -> None:
        self._specs = signature.inputs
        self._batchable = signature.batchable
        self._places = {
            spec.name: (place, spec, DATATYPES[spec.datatype]) for place, spec in enumerate(signature.inputs)
        }
        self.takes_text = any(spec.datatype == "BYTES" for spec in signature.inputs)
        self._outputs = {spec.name for spec in signature.outputs}
        self.all_outputs = tuple(spec.name for spec in signature.outputs)

    def arranged(self, tensors: Sequence[WireTensor], raws: Sequence[bytes]) -> Arranged:
        """Return the inputs of a call; InvalidError naming field, expected and got for the first fault."""
        if raws and len(raws) != len(tensors):
            raise _invalid(
                "RAW_COUNT_WRONG", "raw_input_contents", f"{len(tensors)} entries, one per input", len(raws)
            )
        inputs: list[Array | None] = [None] * len(self._specs)
        rows = -1
        for index, tensor in enumerate(tensors):
            place, spec, datatype = self._place(tensor, index)
            if inputs[place] is not None:
                raise _invalid("INPUT_DUPLICATE", f"inputs[{index}].name", "each input once", spec.name)
            shape = tuple(tensor.shape)
            if shape != spec.shape:
                _check_shape(shape, spec)
            if self._batchable:
                if rows not in (-1, shape[0]):
                    raise _invalid(
                        "ROWS_DIFFER", f"inputs.{spec.name}.shape", f"{rows} rows as before", shape
                    )
                rows = shape[0]
            inputs[place] = _decoded(tensor, raws[index] if raws else None, datatype, shape)
        if len(tensors) < len(inputs):
            self._check_complete(inputs)
        return Arranged(inputs=inputs, rows=max(rows, 1) if not self._batchable else max(rows, 0))

    def wanted(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the outputs asked for, all if none is; InvalidError if one is unknown or asked for twice."""
        wanted = tuple(names)
        if not wanted:
            return self.all_outputs
        for index, name in enumerate(wanted):
            if name not in self._outputs:
                raise _invalid(
                    "OUTPUT_UNKNOWN", f"outputs[{index}].name", ", ".join(self.all_outputs), name[:200]
                )
            if name in wanted[:index]:
                raise _invalid("OUTPUT_DUPLICATE", f"outputs[{index}].name", "each output once", name)
        return wanted

    def _place(self, tensor: WireTensor, index: int) -> tuple[int, TensorSpec, Datatype]:
        found = self._places.get(tensor.name)
        if found is None:
            expected = ", ".join(self._places) or "no input"
            raise _invalid("INPUT_UNKNOWN", f"inputs[{index}].name", expected, tensor.name[:200])
        spec = found[1]
        if tensor.datatype != spec.datatype:
            raise _invalid(
                "DATATYPE_WRONG", f"inputs.{spec.name}.datatype", spec.datatype, tensor.datatype[:64]
            )
        if "shared_memory_region" in tensor.parameters:
            raise UnsupportedError("shared memory is not offered here: send tensors in the message")
        return found

    def _check_complete(self, inputs: Sequence[Array | None]) -> None:
        for spec, array in zip(self._specs, inputs, strict=True):
            if array is None and not spec.optional:
                takes = ", ".join(f"{spec.name} {spec.datatype} {_pattern(spec)}" for spec in self._specs)
                raise InvalidError(
                    f"inputs.{spec.name} is missing, expected {takes}",
                    reason="INPUT_MISSING",
                    field=f"inputs.{spec.name}",
                    expected=takes,
                    got="nothing",
                )


def _check_shape(shape: tuple[int, ...], spec: TensorSpec) -> None:
    field = f"inputs.{spec.name}.shape"
    if len(shape) != len(spec.shape):
        raise _invalid("RANK_WRONG", field, f"{len(spec.shape)} dimensions {_pattern(spec)}", list(shape))
    for size, wanted in zip(shape, spec.shape, strict=True):
        if size != wanted and (wanted != ANY_SIZE or size < 0):
            raise _invalid("SHAPE_WRONG", field, _pattern(spec), list(shape))


def _decoded(tensor: WireTensor, data: bytes | None, datatype: Datatype, shape: tuple[int, ...]) -> Array:
    if data is None:
        return contents.decode(tensor.contents, datatype, shape, f"inputs.{tensor.name}")
    if tensor.HasField("contents"):
        raise _invalid(
            "CONTENTS_MIXED", f"inputs.{tensor.name}.contents", "raw_input_contents alone", "both of them"
        )
    return raw.decode(data, datatype, shape, f"inputs.{tensor.name}")


def _pattern(spec: TensorSpec) -> str:
    return str(list(spec.shape))


def _invalid(reason: str, field: str, expected: object, got: object) -> InvalidError:
    return InvalidError(
        f"{field} is {got}, expected {expected}", reason=reason, field=field, expected=expected, got=got
    )

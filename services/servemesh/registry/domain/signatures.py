"""The signature of a model: names, OIP datatypes, shapes, and along which axis the rows of a batch lie."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from servemesh.errors import InvalidError
from servemesh.registry.domain.models import Signature, TensorSpec
from servemesh.registry.domain.onnx_models import Dimension, ModelDescription, ValueDescription

TENSORS_MAX = 1_000
NAME_CHARS_MAX = 1_024
NAMES_SHOWN_MAX = 5
ANY = -1

# OIP's datatypes by the numbers of onnx.TensorProto.DataType.
DATATYPES = {
    1: "FP32",
    2: "UINT8",
    3: "INT8",
    4: "UINT16",
    5: "INT16",
    6: "INT32",
    7: "INT64",
    8: "BYTES",
    9: "BOOL",
    10: "FP16",
    11: "FP64",
    12: "UINT32",
    13: "UINT64",
    16: "BF16",
}
_NOT_CARRIED = {
    14: "complex64",
    15: "complex128",
    17: "float8e4m3fn",
    18: "float8e4m3fnuz",
    19: "float8e5m2",
    20: "float8e5m2fnuz",
    21: "uint4",
    22: "int4",
    23: "float4e2m1",
    24: "float8e8m0",
    25: "uint2",
    26: "int2",
    27: "float6e2m3",
    28: "float6e3m2",
}
_PLAIN = "make it a plain tensor"
_UNZIPPED = (
    f"{_PLAIN}; for a scikit-learn classifier convert it with "
    "skl2onnx.to_onnx(model, X[:1], options={'zipmap': False})"
)
_ADVICE = {
    ("output", "sequence"): _UNZIPPED,
    ("output", "map"): _UNZIPPED,
    ("input", "optional"): f"{_PLAIN} that is always there",
    ("output", "optional"): f"{_PLAIN} that is always there",
}
# Sizes along which rows belong together: an axis 0 of such a name is not a batch.
_ROWS_BELONG_TOGETHER = re.compile(
    "seq|time|len|frame|step|token|height|width|point|node|edge|vertex|atom|chan", re.I
)
# Names that a converter numbers (tf2onnx, Paddle2ONNX) or writes for "any": they say nothing of what a size is.
_NUMBERED = re.compile(r"unk__\d+|(p2o\.)?DynamicDimension\.\d+")
_ANY_NAMES = ("?", "None")


def signature_of(model: ModelDescription) -> tuple[Signature, tuple[str, ...]]:
    """Return the signature and warnings; InvalidError if OIP cannot carry an input or output.

    **The batch.** Rows of several calls may run together (`batchable`) if axis 0 of every input and every output
    is the batch. An axis is the batch if it has the symbolic size of axis 0 of the first input that has a
    dimension ("batch", "N", ...), wherever it stands in the other tensors. If no axis 0 has a symbolic size, a size
    that is left open on axis 0 of every input and every output is the batch, as skl2onnx writes it. Symbolic
    sizes along which rows belong together ("sequence", "time", ...) never are. So a model is run one call at a
    time when its axis 0 is fixed, when a tensor has rank 0 or keeps its batch on another axis (the state of
    silero-vad has it on axis 1), or when the shape of an output is unknown: slower, never wrong. What the model
    declares is believed; a model that mixes rows along its batch is deployed with batch_rows_max 1.

    A size of 0 or less is read as open: old exporters write it so, and onnxruntime reads it so. So is a name
    that a converter has numbered and used only once. Inputs that have a default in the model are not offered to
    callers, as in onnxruntime's get_inputs.
    """
    model = _with_open_sizes(model)
    _check_count(model)
    for values, role in ((model.inputs, "input"), (model.outputs, "output")):
        _check_names(values, role)
        for value in values:
            _check_carried(value, role)
    for value in model.inputs:
        _check_shaped(value)
    symbol = _batch_symbol(model.inputs)
    axes = {value.name: _batch_axis(value, symbol) for value in (*model.inputs, *model.outputs)}
    apart = _standing_apart(model, symbol)
    if symbol is None and apart:
        axes = dict.fromkeys(axes)
    signature = Signature(
        inputs=tuple(_spec(value, axes[value.name]) for value in model.inputs),
        outputs=tuple(_spec(value, axes[value.name]) for value in model.outputs),
        batchable=bool(model.inputs) and not apart,
        format="onnx",
        ir_version=model.ir_version,
        opsets=dict(sorted(model.opsets.items())),
    )
    return signature, _notes(model, apart)


def _notes(model: ModelDescription, apart: str) -> tuple[str, ...]:
    notes = [
        f"The model does not say which shape output {value.name!r} has; it is listed as if it were a scalar."
        for value in model.outputs
        if value.shape is None
    ]
    if apart and model.inputs:
        notes.append(
            f"The model runs one call at a time, because axis 0 of {apart} is not an open batch size that all "
            "inputs and outputs share; export it with a dynamic batch axis to let calls run together."
        )
    if model.defaulted and model.ir_version >= 4:  # before IR 4 every weight had to be listed as an input
        shown = ", ".join(repr(name) for name in model.defaulted[:NAMES_SHOWN_MAX])
        more = ", …" if len(model.defaulted) > NAMES_SHOWN_MAX else ""
        notes.append(f"Inputs that have a default in the model are not offered to callers: {shown}{more}.")
    return tuple(notes)


def _check_count(model: ModelDescription) -> None:
    for values, role in ((model.inputs, "inputs"), (model.outputs, "outputs")):
        if len(values) > TENSORS_MAX or (role == "outputs" and not values):
            raise InvalidError(
                f"the model has {len(values)} {role}, expected 1 to {TENSORS_MAX}",
                reason="SIGNATURE_INVALID",
                expected=f"1 to {TENSORS_MAX}",
                got=len(values),
            )


def _check_names(values: Sequence[ValueDescription], role: str) -> None:
    names = [value.name for value in values]
    for name in names:
        if not name or len(name) > NAME_CHARS_MAX or names.count(name) > 1:
            raise InvalidError(
                f"the model has an {role} named {name[:80]!r}: names must be unique and have 1 to "
                f"{NAME_CHARS_MAX} characters",
                reason="SIGNATURE_INVALID",
                field=name[:80],
            )


def _check_carried(value: ValueDescription, role: str) -> None:
    if value.kind == "tensor" and value.elem_type in DATATYPES:
        return
    if value.kind == "tensor":
        what = f"a tensor of type {_NOT_CARRIED.get(value.elem_type, f'number {value.elem_type}')}"
        advice = "cast it to FP32 or another type of the protocol inside the model"
    else:
        article = "an" if value.kind.startswith("o") else "a"
        what = f"{article} {value.kind.replace('_', ' ')}" if value.kind else "a value without a type"
        advice = _ADVICE.get((role, value.kind), _PLAIN)
    raise InvalidError(
        f"{role} {value.name!r} is {what}, which the Open Inference Protocol cannot carry: {advice}, and push again",
        reason="INPUT_NOT_SERVABLE" if role == "input" else "OUTPUT_NOT_SERVABLE",
        field=value.name,
        expected="a tensor of an OIP datatype",
        got=what,
    )


def _check_shaped(value: ValueDescription) -> None:
    if value.shape is None:
        raise InvalidError(
            f"input {value.name!r} has no shape, so calls cannot be checked: export the model with the number of "
            "its dimensions (sizes may stay open)",
            reason="INPUT_NOT_SERVABLE",
            field=value.name,
            expected="a number of dimensions",
            got="none",
        )


def _batch_symbol(inputs: Sequence[ValueDescription]) -> str | None:
    for value in inputs:
        first = value.shape[0] if value.shape else None
        if isinstance(first, str):
            return None if _ROWS_BELONG_TOGETHER.search(first) else first
    return None


def _batch_axis(value: ValueDescription, symbol: str | None) -> int | None:
    shape = value.shape or ()
    if symbol is not None:
        return shape.index(symbol) if symbol in shape else None
    return 0 if shape and shape[0] is None else None


def _standing_apart(model: ModelDescription, symbol: str | None) -> str:
    """Return the first input or output whose axis 0 is not the batch, "" if there is none."""
    for values, role in ((model.inputs, "input"), (model.outputs, "output")):
        for value in values:
            if _batch_axis(value, symbol) != 0:
                return f"{role} {value.name!r}"
    return ""


def _with_open_sizes(model: ModelDescription) -> ModelDescription:
    """Return `model` with None for every size that is as good as unnamed."""
    values = (*model.inputs, *model.outputs)
    uses = Counter(size for value in values for size in value.shape or ())

    def opened(value: ValueDescription) -> ValueDescription:
        shape = value.shape and tuple(None if _is_open(size, uses[size]) else size for size in value.shape)
        return replace(value, shape=shape)

    return replace(model, inputs=tuple(map(opened, model.inputs)), outputs=tuple(map(opened, model.outputs)))


def _is_open(size: Dimension, uses: int) -> bool:
    if isinstance(size, str):
        return size in _ANY_NAMES or (uses == 1 and _NUMBERED.fullmatch(size) is not None)
    return size is None or size <= 0


def _spec(value: ValueDescription, batch_axis: int | None) -> TensorSpec:
    return TensorSpec(
        name=value.name,
        datatype=DATATYPES[value.elem_type],
        shape=tuple(size if isinstance(size, int) and size > 0 else ANY for size in value.shape or ()),
        batch_axis=batch_axis,
    )

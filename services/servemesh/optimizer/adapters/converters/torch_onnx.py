"""Makes ONNX from a torch.export program, and runs the program itself for the proof."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import sympy
import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, TensorArgument

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.converters import faults, naming
from servemesh.optimizer.adapters.converters.converted import Array, Inputs

ADVICE = (
    "replace it with other operators of torch, or call .run_decompositions() on the program before it is saved; "
    "a newer opset may know it, too"
)
ROWS_UNBOUNDED = 1_000_000
SIZE_WISHED = 8  # of axes that may have any size
EXTERNAL_ABOVE_BYTES = 1_900_000_000  # protobuf holds 2 GiB


def write(program: ExportedProgram, target: Path, opset: int) -> None:
    """Write `program` as ONNX; its free sizes stay free."""
    try:
        exported = torch.onnx.export(
            program, (), dynamo=True, opset_version=opset or None, verify=False, report=False, verbose=False
        )
    except Exception as error:  # the exporter wraps whatever it meets
        raise faults.unsupported(error, "torch", ADVICE) from error
    assert exported is not None
    weights_bytes = sum(tensor.nbytes for tensor in program.state_dict.values())
    exported.save(target, external_data=weights_bytes > EXTERNAL_ABOVE_BYTES)
    model = onnx.load(target, load_external_data=False)
    naming.name_batch(model)
    naming.forget_origin(model)
    onnx.save(model, target)


def fixed_batch_warning(program: ExportedProgram) -> tuple[str, ...]:
    """Say so if the program takes a fixed number of rows."""
    shapes = [list(value.shape) for value in _user_values(program).values() if value.dim()]
    if not shapes or all(not isinstance(shape[0], int) for shape in shapes):
        return ()
    return (
        f"The program takes {shapes[0][0]} rows at a time and no other number: workers cannot batch calls. Export it "
        "with dynamic_shapes that leave the first axis free.",
    )


def reference(program: ExportedProgram, names: Sequence[str]) -> Any:
    """Return what runs `program` on batches and gives outputs by `names`."""
    module = program.module(check_guards=False)
    signature = list(_user_values(program))

    def run(batches: Sequence[Inputs]) -> Iterable[dict[str, Array]]:
        for batch in batches:
            tensors = [torch.from_numpy(np.array(batch[name])) for name in signature]
            with torch.no_grad():
                yield named(_called(module, program, tensors), names)

    return run


def named(result: Any, names: Sequence[str]) -> dict[str, Array]:
    """Return the tensors in `result` by the names of the ONNX model's outputs, in order."""
    leaves = [leaf for leaf in torch.utils._pytree.tree_leaves(result) if isinstance(leaf, torch.Tensor)]
    return {
        name: leaf.detach().cpu().numpy()
        for name, leaf in zip(names, leaves, strict=len(leaves) == len(names))
    }


def generated(program: ExportedProgram) -> Any:
    """Return what draws inputs of sizes that the program allows."""
    values = _user_values(program)

    def draw(random: np.random.Generator, row_count: int) -> dict[str, Array]:
        sizes = _sizes(program, row_count)
        return {name: _drawn(random, value, sizes) for name, value in values.items()}

    return draw


def batch_rows_max(program: ExportedProgram) -> int:
    """The most rows that the program takes at a time."""
    rows = {_expression(value.shape[0]) for value in _user_values(program).values() if value.dim()}
    bounds = (
        _bound(span.upper, ROWS_UNBOUNDED)
        for symbol, span in program.range_constraints.items()
        if symbol in rows
    )
    return max(1, min(bounds, default=ROWS_UNBOUNDED))


def _called(module: Any, program: ExportedProgram, tensors: list[torch.Tensor]) -> Any:
    in_spec = program.call_spec.in_spec
    arguments, named_arguments = torch.utils._pytree.tree_unflatten(tensors, in_spec)
    return module(*arguments, **named_arguments)


def _user_values(program: ExportedProgram) -> dict[str, Any]:
    """The fake tensors of the program's own inputs by name; InvalidError where one is no tensor."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    found = {}
    for spec in program.graph_signature.input_specs:
        if spec.kind is not InputKind.USER_INPUT:
            continue
        if not isinstance(spec.arg, TensorArgument) or not isinstance(values[spec.arg.name], torch.Tensor):
            raise InvalidError(
                f"input {spec.arg.name!r} of the program is no tensor: wrap the model so that it takes tensors alone",
                reason="SOURCE_UNSUPPORTED",
                field=spec.arg.name,
            )
        found[spec.arg.name] = values[spec.arg.name]
    return found


def _sizes(program: ExportedProgram, row_count: int) -> dict[sympy.Symbol, int]:
    """A size for each free symbol, inside its range; symbols of a first axis get the number of rows."""
    rows = {_expression(value.shape[0]) for value in _user_values(program).values() if value.dim()}
    sizes = {}
    for symbol, span in program.range_constraints.items():
        wished = row_count if symbol in rows else SIZE_WISHED
        sizes[symbol] = int(max(_bound(span.lower, 1), min(_bound(span.upper, wished), wished)))
    return sizes


def _bound(value: Any, otherwise: int) -> int:
    try:
        return int(value) if math.isfinite(float(value)) else otherwise
    except (TypeError, ValueError, OverflowError):
        return otherwise


def _expression(size: Any) -> Any:
    return size.node.expr if isinstance(size, torch.SymInt) else size


def _drawn(random: np.random.Generator, value: torch.Tensor, sizes: Mapping[sympy.Symbol, int]) -> Array:
    shape = [int(sympy.sympify(_expression(size)).subs(sizes)) for size in value.shape]
    dtype = torch.empty(0, dtype=value.dtype).numpy().dtype if value.dtype != torch.bfloat16 else None
    if dtype is None:
        raise InvalidError(
            "the program takes bfloat16: wrap the model so that it takes float32", reason="SOURCE_UNSUPPORTED"
        )
    drawn: Any = random.integers(0, 2, shape) if dtype.kind in "iub" else random.standard_normal(shape)
    return np.asarray(drawn).astype(dtype)

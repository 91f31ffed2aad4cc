"""Checks what a pass made before anybody sees it: valid, of the same interface, runnable, and finite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from servemesh.errors import InvalidError, ServemeshError
from servemesh.optimizer.adapters.passes.context import PassContext
from servemesh.optimizer.adapters.passes.running import Array, OpenModel, sample


def check(pass_id: str, source: Path, result: Path, context: PassContext) -> list[str]:
    """InvalidError with reason PASS_RESULT_INVALID unless the model at `result` may stand in for that at `source`.

    Returns notes.
    """
    try:
        onnx.checker.check_model(str(result))
    except (onnx.checker.ValidationError, ValueError) as error:
        raise _refused(pass_id, "it is not valid ONNX", "a valid model") from error
    _check_interface(pass_id, source, result)
    after = OpenModel.open(result, context.threads)
    before = OpenModel.open(source, context.threads)
    inputs = sample(context.data, before.inputs, context.seed)
    try:
        expected = before.run(inputs)
    except ServemeshError as error:
        return [
            f"The result was opened and not run: the model before the pass fails on made-up inputs ({error})."
        ]
    _check_outputs(pass_id, expected, after.run(inputs))
    return []


def check_same(pass_id: str, source: Path, result: Path, tolerance: float, context: PassContext) -> list[str]:
    """InvalidError unless all outputs of both models are the same within `tolerance` of the largest value."""
    before, after = OpenModel.open(source, context.threads), OpenModel.open(result, context.threads)
    inputs = sample(context.data, before.inputs, context.seed)
    try:
        expected = before.run(inputs)
    except ServemeshError as error:
        return [f"Outputs were not compared: the model before the pass fails on made-up inputs ({error})."]
    for name, got in after.run(inputs).items():
        difference = _difference(expected[name], got)
        if difference > tolerance:
            raise _refused(
                pass_id,
                f"output {name!r} differs by {difference:.2g} of its largest value",
                f"at most {tolerance:g}; raise tolerance if that is acceptable",
                output=name,
            )
    return []


def interface(path: Path) -> list[bytes]:
    """Return what may not change: inputs and outputs with datatypes and shapes, in order."""
    graph = onnx.load(path, load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    return [
        value.name.encode() + b"\0" + value.type.SerializeToString(deterministic=True)
        for value in (*inputs, *graph.output)
    ]


def _check_interface(pass_id: str, source: Path, result: Path) -> None:
    before, after = interface(source), interface(result)
    if before != after:
        changed = next((a for a, b in zip(before, after, strict=False) if a != b), b"their number\0")
        name = changed.partition(b"\0")[0].decode()
        raise _refused(pass_id, f"its inputs or outputs changed: {name}", "the same inputs and outputs")


def _check_outputs(pass_id: str, expected: dict[str, Array], got: dict[str, Array]) -> None:
    for name, array in got.items():
        if array.dtype.kind != "f" or not np.isfinite(expected[name]).all():
            continue
        if array.shape != expected[name].shape or not np.isfinite(array).all():
            raise _refused(
                pass_id,
                f"output {name!r} is not finite or has another shape",
                "numbers where there were numbers: exclude nodes, or choose another pass",
                output=name,
            )


def _difference(expected: Array, got: Array) -> float:
    if expected.shape != got.shape:
        return float("inf")
    if expected.dtype.kind not in "fc":
        return float((expected != got).mean()) if expected.size else 0.0
    both = np.isfinite(expected) & np.isfinite(got)
    same = both | (expected == got) | (np.isnan(expected) & np.isnan(got))
    if not same.all():
        return float("inf")
    largest = float(np.abs(expected[both]).max(initial=0.0))
    return float(np.abs(expected[both].astype(np.float64) - got[both]).max(initial=0.0)) / (largest or 1.0)


def _refused(pass_id: str, what: str, expected: str, **metadata: object) -> InvalidError:
    return InvalidError(
        f"what pass {pass_id} made cannot serve: {what}; expected {expected}",
        reason="PASS_RESULT_INVALID",
        expected=expected,
        **{"pass": pass_id, **metadata},
    )

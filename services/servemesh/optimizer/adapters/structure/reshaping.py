"""How reshaping, joining and splitting tie axes, and how a reshape is said anew when sizes have changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx

from servemesh.optimizer.adapters.structure.coupling import Coupling
from servemesh.optimizer.adapters.structure.nodes import integer_of
from servemesh.optimizer.adapters.structure.shapes import Shapes


def tie_reshaped(node: onnx.NodeProto, coupling: Coupling) -> None:
    """Tie axes that stay one to one. Of axes that are merged or split, the outermost is tied in blocks."""
    source, target = node.input[0], node.output[0]
    for before, after in _segments(coupling.sizes[source], coupling.sizes[target]):
        if len(before) == len(after) == 1:
            coupling.tie((source, before[0]), (target, after[0]))
            continue
        if len(after) == 1:
            coupling.tie_blocks((target, after[0]), (source, before[0]))
        elif len(before) == 1:
            coupling.tie_blocks((source, before[0]), (target, after[0]))
        else:
            coupling.freeze((source, before[0]))
            coupling.freeze((target, after[0]))
        for axis in before[1:]:
            coupling.freeze((source, axis))
        for axis in after[1:]:
            coupling.freeze((target, axis))


def target_of(node: onnx.NodeProto, shapes: Shapes, sizes: Mapping[str, tuple[int, ...]]) -> list[int] | None:
    """Return the shape to ask for, with what `sizes` says of fixed axes; None if it cannot be said as a constant."""
    source, target = node.input[0], node.output[0]
    copied = {
        after[0]
        for before, after in _segments(shapes.of(source), shapes.of(target))
        if len(before) == len(after) == 1 and before == after
    }
    asked = []
    for axis, fixed in enumerate(shapes.fixed[target]):
        if fixed:
            asked.append(sizes[target][axis])
        else:
            asked.append(0 if axis in copied else -1)
    return asked if asked.count(-1) <= 1 else None


def tie_concat(node: onnx.NodeProto, coupling: Coupling) -> None:
    """Tie each part to its place in the whole."""
    _tie_parts(list(node.input), node.output[0], integer_of(node, "axis", 0), coupling)


def tie_split(node: onnx.NodeProto, coupling: Coupling) -> None:
    """Tie each part to its place in the whole."""
    _tie_parts(list(node.output), node.input[0], integer_of(node, "axis", 0), coupling)


def _tie_parts(parts: list[str], whole: str, axis: int, coupling: Coupling) -> None:
    axis %= len(coupling.sizes[whole])
    elements, start = coupling.elements((whole, axis)), 0
    for part in parts:
        end = start + coupling.sizes[part][axis]
        coupling.tie_elements(coupling.elements((part, axis)), elements[start:end])
        start = end
        for other in range(len(coupling.sizes[whole])):
            if other != axis:
                coupling.tie((part, other), (whole, other))


def _segments(before: tuple[int, ...], after: tuple[int, ...]) -> Iterator[tuple[list[int], list[int]]]:
    """Yield runs of axes with the same number of elements on both sides. Axes of size 1 are in no run."""
    left = [axis for axis, size in enumerate(before) if size != 1]
    right = [axis for axis, size in enumerate(after) if size != 1]
    while left and right:
        run_left, run_right = [left.pop(0)], [right.pop(0)]
        product_left, product_right = before[run_left[0]], after[run_right[0]]
        while product_left != product_right:
            if product_left < product_right:
                run_left.append(left.pop(0))
                product_left *= before[run_left[-1]]
            else:
                run_right.append(right.pop(0))
                product_right *= after[run_right[-1]]
        yield run_left, run_right

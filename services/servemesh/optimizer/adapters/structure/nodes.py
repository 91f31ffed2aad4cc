"""Reading the attributes and constant inputs of ONNX nodes."""

from __future__ import annotations

from collections.abc import Mapping

import onnx


def integer_of(node: onnx.NodeProto, name: str, default: int) -> int:
    """Return an integer attribute."""
    return next((attribute.i for attribute in node.attribute if attribute.name == name), default)


def integers_of(
    node: onnx.NodeProto, place: int, name: str, constants: Mapping[str, list[int]]
) -> list[int] | None:
    """Return integers that are an input in newer operator sets and an attribute in older ones, if they are constant."""
    if len(node.input) > place and node.input[place]:
        return constants.get(node.input[place])
    return next((list(attribute.ints) for attribute in node.attribute if attribute.name == name), None)


def without_attributes(node: onnx.NodeProto, *names: str) -> None:
    """Take attributes from a node."""
    kept = [attribute for attribute in node.attribute if attribute.name not in names]
    del node.attribute[:]
    node.attribute.extend(kept)

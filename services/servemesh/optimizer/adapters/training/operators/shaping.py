"""Operators that change shapes and compute with them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from servemesh.optimizer.adapters.training.operators.call import Call, Operator, axis_of, integers_tensor


def _reshape(call: Call) -> Tensor:
    value, asked = call.tensor(), call.integers(1, "shape") or []
    if not call.attribute("allowzero", 0):
        asked = [value.shape[axis] if size == 0 else size for axis, size in enumerate(asked)]
    return value.reshape(asked)


def _flatten(call: Call) -> Tensor:
    value = call.tensor()
    axis = axis_of(call, value.ndim, 1)
    return value.reshape(math.prod(value.shape[:axis]), -1)


def _transpose(call: Call) -> Tensor:
    value = call.tensor()
    return value.permute(*call.attribute("perm", list(range(value.ndim))[::-1]))


def _squeeze(call: Call) -> Tensor:
    axes = call.integers(1, "axes")
    return call.tensor().squeeze() if axes is None else call.tensor().squeeze(axes)


def _unsqueeze(call: Call) -> Tensor:
    value, axes = call.tensor(), call.integers(1, "axes") or []
    rank = value.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        value = value.unsqueeze(axis)
    return value


def _concat(call: Call) -> Tensor:
    return torch.cat(call.given(), dim=int(call.attribute("axis", 0)))


def _split(call: Call) -> tuple[Tensor, ...]:
    value = call.tensor()
    axis, sizes = axis_of(call, value.ndim, 0), call.integers(1, "split")
    even = -(-value.shape[axis] // call.output_count)
    parts: tuple[Tensor, ...] = value.split(even if sizes is None else sizes, dim=axis)
    return parts


def _expand(call: Call) -> Tensor:
    value, asked = call.tensor(), call.integers(1, "shape") or []
    return value.expand(torch.broadcast_shapes(value.shape, asked))


def _tile(call: Call) -> Tensor:
    return call.tensor().tile(call.integers(1, "repeats") or [])


def _shape(call: Call) -> Tensor:
    value = call.tensor()
    end = call.attribute("end", value.ndim)
    return integers_tensor(value.shape[call.attribute("start", 0) : end], value)


def _size(call: Call) -> Tensor:
    value = call.tensor()
    return torch.tensor(value.numel(), dtype=torch.int64, device=value.device)


def _depth_to_space(call: Call) -> Tensor:
    value, block = call.tensor(), int(call.attribute("blocksize", 1))
    rows, depth, height, width = value.shape
    kept = depth // (block * block)
    if call.attribute("mode", "DCR") == "CRD":
        parts = value.reshape(rows, kept, block, block, height, width).permute(0, 1, 4, 2, 5, 3)
    else:
        parts = value.reshape(rows, block, block, kept, height, width).permute(0, 3, 4, 1, 5, 2)
    return parts.reshape(rows, kept, height * block, width * block)


TABLE: Mapping[str, Operator] = {
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}

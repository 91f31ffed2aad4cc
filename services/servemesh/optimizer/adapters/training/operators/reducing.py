"""Operators that reduce axes to one value."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from servemesh.optimizer.adapters.training.operators.call import Call, Operator

Reduction = Callable[[Tensor, list[int], bool], Tensor]


def _reduced(function: Reduction) -> Operator:
    def operator(call: Call) -> Tensor:
        value, axes = call.tensor(), call.integers(1, "axes")
        if not value.numel():
            raise call.refused("reduces nothing")
        if not axes:
            if call.attribute("noop_with_empty_axes", 0):
                return function(value.unsqueeze(-1), [-1], False)
            axes = list(range(value.ndim))
        return function(value, axes, bool(call.attribute("keepdims", 1)))

    return operator


def _product(value: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted((axis % value.ndim for axis in axes), reverse=True):
        value = value.prod(dim=axis, keepdim=keep, dtype=value.dtype)
    return value


def _sum(value: Tensor, axes: list[int], keep: bool) -> Tensor:
    return value.sum(axes, keepdim=keep, dtype=value.dtype)


TABLE: Mapping[str, Operator] = {
    "ReduceL1": _reduced(lambda value, axes, keep: _sum(value.abs(), axes, keep)),
    "ReduceL2": _reduced(lambda value, axes, keep: _sum(value * value, axes, keep).sqrt()),
    "ReduceLogSum": _reduced(lambda value, axes, keep: _sum(value, axes, keep).log()),
    "ReduceLogSumExp": _reduced(torch.logsumexp),
    "ReduceMax": _reduced(lambda value, axes, keep: value.amax(axes, keepdim=keep)),
    "ReduceMean": _reduced(lambda value, axes, keep: value.mean(axes, keepdim=keep)),
    "ReduceMin": _reduced(lambda value, axes, keep: value.amin(axes, keepdim=keep)),
    "ReduceProd": _reduced(_product),
    "ReduceSum": _reduced(_sum),
    "ReduceSumSquare": _reduced(lambda value, axes, keep: _sum(value * value, axes, keep)),
}

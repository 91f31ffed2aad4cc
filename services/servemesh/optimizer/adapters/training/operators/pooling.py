"""Operators that pool over the axes behind the channels."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from servemesh.optimizer.adapters.training.operators.call import Call, Operator
from servemesh.optimizer.adapters.training.operators.layers import padded, padding

_AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_MAXIMUM = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


def _window(call: Call) -> tuple[list[int], list[int], list[int], list[int]]:
    """Return kernel, strides, dilations and pads of a pooling node."""
    sizes = list(call.tensor().shape[2:])
    kernel = call.attribute("kernel_shape", sizes)
    strides = call.attribute("strides", [1] * len(sizes))
    dilations = call.attribute("dilations", [1] * len(sizes))
    return kernel, strides, dilations, padding(call, sizes, kernel, strides, dilations)


def _average_pool(call: Call) -> Tensor:
    kernel, strides, dilations, pads = _window(call)
    if any(dilation != 1 for dilation in dilations):
        raise call.refused("pools with dilation")
    pool = _AVERAGE[len(kernel)]
    ceil, counts_pads = bool(call.attribute("ceil_mode", 0)), bool(call.attribute("count_include_pad", 0))
    if _is_plain(pads, kernel):
        return pool(call.tensor(), kernel, strides, pads[: len(kernel)], ceil, counts_pads)
    value = padded(call.tensor(), pads)
    averaged = pool(value, kernel, strides, ceil_mode=ceil)
    if counts_pads:
        return averaged
    inside = padded(torch.ones_like(call.tensor()[:1, :1]), pads)
    return averaged / pool(inside, kernel, strides, ceil_mode=ceil)


def _max_pool(call: Call) -> Tensor:
    kernel, strides, dilations, pads = _window(call)
    ceil, pool = bool(call.attribute("ceil_mode", 0)), _MAXIMUM[len(kernel)]
    if _is_plain(pads, kernel):
        return pool(call.tensor(), kernel, strides, pads[: len(kernel)], dilations, ceil)
    return pool(padded(call.tensor(), pads, float("-inf")), kernel, strides, 0, dilations, ceil)


def _is_plain(pads: list[int], kernel: list[int]) -> bool:
    """Tell whether torch pads like this by itself: the same on both sides, at most half of the window."""
    rank = len(kernel)
    return pads[:rank] == pads[rank:] and all(
        2 * pad <= size for pad, size in zip(pads, kernel, strict=False)
    )


def _global_average(call: Call) -> Tensor:
    value = call.tensor()
    return value.mean(list(range(2, value.ndim)), keepdim=True)


def _global_maximum(call: Call) -> Tensor:
    value = call.tensor()
    return value.amax(list(range(2, value.ndim)), keepdim=True)


TABLE: Mapping[str, Operator] = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average,
    "GlobalMaxPool": _global_maximum,
    "MaxPool": _max_pool,
}

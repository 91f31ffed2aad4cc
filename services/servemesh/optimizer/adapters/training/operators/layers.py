"""Operators with weights: convolutions, matrix products and what goes with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from servemesh.optimizer.adapters.training.operators.call import Call, Operator

_CONVOLUTION = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
_PLACES_GROWING = ("pytorch_half_pixel", "align_corners")
_PAD_MODE = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def padding(
    call: Call, sizes: list[int], kernel: list[int], strides: list[int], dilations: list[int]
) -> list[int]:
    """Return how much to pad, as ONNX orders it: all beginnings, then all ends."""
    mode = call.attribute("auto_pad", "NOTSET")
    if mode == "NOTSET":
        return list(call.attribute("pads", [0] * 2 * len(sizes)))
    if mode == "VALID":
        return [0] * 2 * len(sizes)
    begins, ends = [], []
    for size, window, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        total = max((-(-size // stride) - 1) * stride + (window - 1) * dilation + 1 - size, 0)
        small, large = total // 2, total - total // 2
        begins.append(small if mode == "SAME_UPPER" else large)
        ends.append(large if mode == "SAME_UPPER" else small)
    return [*begins, *ends]


def padded(value: Tensor, pads: list[int], fill: float = 0.0) -> Tensor:
    """Return `value` with its last axes padded; `pads` as ONNX orders them."""
    if not any(pads):
        return value
    return F.pad(value, torch_order(pads), value=fill)


def torch_order(pads: list[int]) -> list[int]:
    """Return ONNX pads in torch's order: pairs, last axis first."""
    half = len(pads) // 2
    return [pads[axis + side] for axis in reversed(range(half)) for side in (0, half)]


def _conv(call: Call) -> Tensor:
    value, weight = call.tensor(0), call.tensor(1)
    rank = weight.ndim - 2
    if rank not in _CONVOLUTION:
        raise call.refused(f"convolves over {rank} axes")
    strides = call.attribute("strides", [1] * rank)
    dilations = call.attribute("dilations", [1] * rank)
    pads = padding(call, list(value.shape[2:]), list(weight.shape[2:]), strides, dilations)
    if pads[:rank] == pads[rank:]:
        inside = pads[:rank]
    else:
        value, inside = padded(value, pads), [0] * rank
    groups = call.attribute("group", 1)
    return _CONVOLUTION[rank](value, weight, call.optional(2), strides, inside, dilations, groups)


def _conv_transpose(call: Call) -> Tensor:
    value, weight = call.tensor(0), call.tensor(1)
    rank = weight.ndim - 2
    pads = call.attribute("pads", [0] * 2 * rank)
    plain = pads[:rank] == pads[rank:] and call.attribute("auto_pad", "NOTSET") == "NOTSET"
    if rank not in _TRANSPOSED or not plain or "output_shape" in call.attributes:
        raise call.refused("has asymmetric or automatic pads, or an output_shape")
    return _TRANSPOSED[rank](
        value,
        weight,
        call.optional(2),
        call.attribute("strides", [1] * rank),
        pads[:rank],
        call.attribute("output_padding", [0] * rank),
        call.attribute("group", 1),
        call.attribute("dilations", [1] * rank),
    )


def _gemm(call: Call) -> Tensor:
    left, right, bias = call.tensor(0), call.tensor(1), call.optional(2)
    left = left.T if call.attribute("transA", 0) else left
    right = right.T if call.attribute("transB", 0) else right
    alpha, beta = call.attribute("alpha", 1.0), call.attribute("beta", 1.0)
    product = left @ right
    if alpha != 1.0:
        product = alpha * product
    if bias is None:
        return product
    return product + (bias if beta == 1.0 else beta * bias)


def _pad(call: Call) -> Tensor:
    value, pads, axes = call.tensor(), call.integers(1, "pads") or [], call.integers(3, "axes")
    mode = call.attribute("mode", "constant")
    if axes is not None:
        spread = [0] * 2 * value.ndim
        for place, axis in enumerate(axes):
            spread[axis % value.ndim] = pads[place]
            spread[axis % value.ndim + value.ndim] = pads[place + len(axes)]
        pads = spread
    if mode == "constant":
        fill = call.optional(2)
        return padded(value, pads, float(fill.item()) if fill is not None else call.attribute("value", 0.0))
    inner = [*pads[2 : value.ndim], *pads[value.ndim + 2 :]]
    if (
        mode not in _PAD_MODE
        or not value.is_floating_point()
        or any(pads[:2])
        or any(pads[value.ndim : value.ndim + 2])
    ):
        raise call.refused(f"pads rows or channels by '{mode}'")
    return F.pad(value, torch_order(inner), mode=_PAD_MODE[mode])


def _resize(call: Call) -> Tensor:
    value, mode = call.tensor(), call.attribute("mode", "nearest")
    place = call.attribute("coordinate_transformation_mode", "half_pixel")
    wanted, grows = _resized(call)
    if mode == "nearest" and place == "asymmetric" and call.attribute("nearest_mode", "") == "floor":
        return F.interpolate(value, mode="nearest", **wanted)
    if mode == "linear" and (place == "half_pixel" or (grows and place in _PLACES_GROWING)):
        name = {1: "linear", 2: "bilinear", 3: "trilinear"}[value.ndim - 2]
        return F.interpolate(value, mode=name, align_corners=place == "align_corners", **wanted)
    raise call.refused(f"resizes by '{mode}' with '{place}'")


def _resized(call: Call) -> tuple[dict[str, Any], bool]:
    """Return what torch is to be told of the new size, and whether no axis gets smaller."""
    value, scales, sizes = call.tensor(), call.optional(2), call.integers(3, "sizes")
    odd = {"antialias", "axes", "keep_aspect_ratio_policy"} & call.attributes.keys()
    if not odd and sizes is not None and sizes[:2] == list(value.shape[:2]):
        grows = all(size >= old for size, old in zip(sizes, value.shape, strict=True))
        return {"size": sizes[2:]}, grows
    if not odd and scales is not None and scales.numel() == value.ndim and bool((scales[:2] == 1).all()):
        factors = {"scale_factor": scales[2:].tolist(), "recompute_scale_factor": False}
        return factors, bool((scales >= 1).all())
    raise call.refused("resizes rows or channels, or in a way of its own")


def _einsum(call: Call) -> Tensor:
    return torch.einsum(call.attribute("equation", ""), *call.given())


TABLE: Mapping[str, Operator] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Einsum": _einsum,
    "Gemm": _gemm,
    "MatMul": lambda call: call.tensor(0) @ call.tensor(1),
    "Pad": _pad,
    "Resize": _resize,
}

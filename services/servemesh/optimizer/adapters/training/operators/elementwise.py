"""Operators that work on each element by itself, with broadcasting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce

import onnx
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from servemesh.optimizer.adapters.training.operators.call import Call, Operator

_DTYPE_OF = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.DOUBLE: torch.float64,
    onnx.TensorProto.FLOAT16: torch.float16,
    onnx.TensorProto.BFLOAT16: torch.bfloat16,
    onnx.TensorProto.INT8: torch.int8,
    onnx.TensorProto.INT16: torch.int16,
    onnx.TensorProto.INT32: torch.int32,
    onnx.TensorProto.INT64: torch.int64,
    onnx.TensorProto.UINT8: torch.uint8,
    onnx.TensorProto.BOOL: torch.bool,
}


def _unary(function: Callable[[Tensor], Tensor]) -> Operator:
    return lambda call: function(call.tensor())


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return lambda call: function(call.tensor(0), call.tensor(1))


def _variadic(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return lambda call: reduce(function, call.given())


def _scaled(function: Callable[[Tensor, float], Tensor], name: str, default: float) -> Operator:
    return lambda call: function(call.tensor(), call.attribute(name, default))


def _divide(left: Tensor, right: Tensor) -> Tensor:
    if left.is_floating_point():
        return left / right
    return torch.div(left, right, rounding_mode="trunc")


def _power(base: Tensor, exponent: Tensor) -> Tensor:
    return torch.pow(base, exponent).to(base.dtype)


def _remainder(call: Call) -> Tensor:
    function = torch.fmod if call.attribute("fmod", 0) else torch.remainder
    return function(call.tensor(0), call.tensor(1))


def _mean(call: Call) -> Tensor:
    return reduce(torch.add, call.given()) / len(call.given())


def _clip(call: Call) -> Tensor:
    low = call.optional(1) if call.optional(1) is not None else call.attribute("min", None)
    high = call.optional(2) if call.optional(2) is not None else call.attribute("max", None)
    value = call.tensor()
    if low is not None:
        value = torch.maximum(value, torch.as_tensor(low, dtype=value.dtype, device=value.device))
    if high is not None:
        value = torch.minimum(value, torch.as_tensor(high, dtype=value.dtype, device=value.device))
    return value


def _cast(call: Call) -> Tensor:
    dtype = _DTYPE_OF.get(call.attribute("to", 0))
    if dtype is None:
        raise call.refused(f"casts to element type {call.attribute('to', 0)}")
    return call.tensor().to(dtype)


def _hard_sigmoid(call: Call) -> Tensor:
    return torch.clamp(call.attribute("alpha", 0.2) * call.tensor() + call.attribute("beta", 0.5), 0, 1)


def _prelu(value: Tensor, slope: Tensor) -> Tensor:
    return torch.where(value >= 0, value, value * slope)


def _selu(call: Call) -> Tensor:
    alpha, gamma = call.attribute("alpha", 1.6732632423543772), call.attribute("gamma", 1.0507009873554805)
    value = call.tensor()
    return gamma * torch.where(value > 0, value, alpha * torch.expm1(value.clamp(max=0)))


def _gelu(call: Call) -> Tensor:
    return F.gelu(call.tensor(), approximate=call.attribute("approximate", "none"))


def _thresholded_relu(value: Tensor, alpha: float) -> Tensor:
    return torch.where(value > alpha, value, torch.zeros_like(value))


def _swish(value: Tensor, alpha: float) -> Tensor:
    return value * torch.sigmoid(alpha * value)


TABLE: Mapping[str, Operator] = {
    **{
        name: _unary(function)
        for name, function in {
            "Abs": torch.abs,
            "Acos": torch.acos,
            "Asin": torch.asin,
            "Atan": torch.atan,
            "Ceil": torch.ceil,
            "Cos": torch.cos,
            "Cosh": torch.cosh,
            "Erf": torch.erf,
            "Exp": torch.exp,
            "Floor": torch.floor,
            "HardSwish": F.hardswish,
            "Identity": lambda value: value,
            "IsNaN": torch.isnan,
            "Log": torch.log,
            "Mish": F.mish,
            "Neg": torch.neg,
            "Not": torch.logical_not,
            "Reciprocal": torch.reciprocal,
            "Relu": torch.relu,
            "Round": torch.round,
            "Sigmoid": torch.sigmoid,
            "Sign": torch.sign,
            "Sin": torch.sin,
            "Sinh": torch.sinh,
            "Softplus": F.softplus,
            "Softsign": F.softsign,
            "Sqrt": torch.sqrt,
            "Tan": torch.tan,
            "Tanh": torch.tanh,
        }.items()
    },
    **{
        name: _binary(function)
        for name, function in {
            "Add": torch.add,
            "And": torch.logical_and,
            "CastLike": lambda value, like: value.to(like.dtype),
            "Div": _divide,
            "Equal": torch.eq,
            "Greater": torch.gt,
            "GreaterOrEqual": torch.ge,
            "Less": torch.lt,
            "LessOrEqual": torch.le,
            "Mul": torch.mul,
            "Or": torch.logical_or,
            "PRelu": _prelu,
            "Pow": _power,
            "Sub": torch.sub,
            "Xor": torch.logical_xor,
        }.items()
    },
    "Cast": _cast,
    "Celu": _scaled(F.celu, "alpha", 1.0),
    "Clip": _clip,
    "Elu": _scaled(F.elu, "alpha", 1.0),
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "LeakyRelu": _scaled(F.leaky_relu, "alpha", 0.01),
    "Max": _variadic(torch.maximum),
    "Mean": _mean,
    "Min": _variadic(torch.minimum),
    "Mod": _remainder,
    "Selu": _selu,
    "Sum": _variadic(torch.add),
    "Swish": _scaled(_swish, "alpha", 1.0),
    "ThresholdedRelu": _scaled(_thresholded_relu, "alpha", 1.0),
    "Where": lambda call: torch.where(call.tensor(0), call.tensor(1), call.tensor(2)),
}

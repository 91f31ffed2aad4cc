"""Operators that normalise: by batch, layer, group, or to a sum of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from servemesh.optimizer.adapters.training.operators.call import Call, Operator, axis_of


def _batch(call: Call) -> Tensor:
    if call.attribute("training_mode", 0):
        raise call.refused("was exported to be trained")
    value, scale, bias, mean, variance = (call.tensor(index) for index in range(5))
    return F.batch_norm(
        value,
        mean,
        variance,
        scale,
        bias,
        training=call.training and value.shape[0] > 1,
        momentum=1 - call.attribute("momentum", 0.9),
        eps=call.attribute("epsilon", 1e-5),
    )


def _layer(call: Call) -> Tensor:
    value = call.tensor()
    shape = value.shape[axis_of(call, value.ndim, -1) :]
    weight, bias = call.tensor(1).expand(shape), call.optional(2)
    epsilon = call.attribute("epsilon", 1e-5)
    return F.layer_norm(value, shape, weight, None if bias is None else bias.expand(shape), epsilon)


def _root_mean_square(call: Call) -> Tensor:
    value = call.tensor()
    axes = list(range(axis_of(call, value.ndim, -1), value.ndim))
    mean_square = (value * value).mean(axes, keepdim=True)
    return value * torch.rsqrt(mean_square + call.attribute("epsilon", 1e-5)) * call.tensor(1)


def _instance(call: Call) -> Tensor:
    epsilon = call.attribute("epsilon", 1e-5)
    return F.instance_norm(call.tensor(), weight=call.tensor(1), bias=call.tensor(2), eps=epsilon)


def _group(call: Call) -> Tensor:
    value, scale, bias = call.tensor(0), call.tensor(1), call.tensor(2)
    groups, epsilon = call.attribute("num_groups", 1), call.attribute("epsilon", 1e-5)
    if scale.shape[0] != value.shape[1]:  # operator set 18 has one weight a group
        scale, bias = (weight.repeat_interleave(value.shape[1] // groups) for weight in (scale, bias))
    return F.group_norm(value, groups, scale, bias, epsilon)


def _lp(call: Call) -> Tensor:
    value = call.tensor()
    return F.normalize(value, p=call.attribute("p", 2), dim=axis_of(call, value.ndim, -1))


def _softmax(function: Callable[[Tensor, int], Tensor]) -> Operator:
    def operator(call: Call) -> Tensor:
        value = call.tensor()
        if call.opset >= 13:
            return function(value, axis_of(call, value.ndim, -1))
        flat = value.flatten(axis_of(call, value.ndim, 1))  # older sets normalise over all that follows
        return function(flat, flat.ndim - 1).reshape(value.shape)

    return operator


def _dropout(call: Call) -> Tensor:
    """Exported models have it off; training goes on as the model is served."""
    active = call.optional(2)
    if active is not None and bool(active):
        raise call.refused("is switched on")
    return call.tensor()


TABLE: Mapping[str, Operator] = {
    "BatchNormalization": _batch,
    "Dropout": _dropout,
    "GroupNormalization": _group,
    "InstanceNormalization": _instance,
    "LayerNormalization": _layer,
    "LogSoftmax": _softmax(torch.log_softmax),
    "LpNormalization": _lp,
    "RMSNormalization": _root_mean_square,
    "Softmax": _softmax(torch.softmax),
}

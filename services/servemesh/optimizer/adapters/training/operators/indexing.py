"""Operators that pick, place and count elements."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from servemesh.optimizer.adapters.training.operators.call import Call, Operator, axis_of


def _gather(call: Call) -> Tensor:
    value, index = call.tensor(0), call.tensor(1)
    axis = axis_of(call, value.ndim, 0)
    picked = value.index_select(axis, _from_front(index, value.shape[axis]).reshape(-1))
    return picked.reshape((*value.shape[:axis], *index.shape, *value.shape[axis + 1 :]))


def _gather_elements(call: Call) -> Tensor:
    value = call.tensor(0)
    axis = axis_of(call, value.ndim, 0)
    return value.gather(axis, _from_front(call.tensor(1), value.shape[axis]))


def _gather_nd(call: Call) -> Tensor:
    if call.attribute("batch_dims", 0):
        raise call.refused("has batch_dims")
    value, index = call.tensor(0), call.tensor(1).to(torch.int64)
    return value[tuple(index.unbind(-1))]


def _scatter_nd(call: Call) -> Tensor:
    if call.attribute("reduction", "none") != "none":
        raise call.refused("reduces while it scatters")
    index = call.tensor(1).to(torch.int64)
    return call.tensor(0).index_put(tuple(index.unbind(-1)), call.tensor(2))


def _slice(call: Call) -> Tensor:
    value = call.tensor()
    starts, ends = call.integers(1, "starts") or [], call.integers(2, "ends") or []
    axes = call.integers(3, "axes") or list(range(len(starts)))
    steps = call.integers(4, "steps") or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        kept = range(*slice(start, end, step).indices(value.shape[axis]))
        if step > 0:
            front = (slice(None),) * (axis % value.ndim)
            value = value[(*front, slice(kept.start, max(kept.stop, kept.start), step))]
        else:
            value = value.index_select(axis, torch.tensor(list(kept), device=value.device, dtype=torch.int64))
    return value


def _range(call: Call) -> Tensor:
    start, limit, step = (call.tensor(index) for index in range(3))
    return torch.arange(start.item(), limit.item(), step.item(), dtype=start.dtype, device=start.device)


def _constant_of_shape(call: Call) -> Tensor:
    shape = call.tensor()
    value = call.attribute("value", torch.zeros(1)).to(shape.device)
    return value.reshape(()).expand([int(size) for size in shape.tolist()]).clone()


def _trilu(call: Call) -> Tensor:
    diagonal = call.optional(1)
    function = torch.triu if call.attribute("upper", 1) else torch.tril
    return function(call.tensor(), 0 if diagonal is None else int(diagonal.item()))


def _cumulative_sum(call: Call) -> Tensor:
    if call.attribute("exclusive", 0) or call.attribute("reverse", 0):
        raise call.refused("is exclusive or reversed")
    return call.tensor(0).cumsum(int(call.tensor(1).item()), dtype=call.tensor(0).dtype)


def _best(function: Callable[..., Tensor]) -> Operator:
    def operator(call: Call) -> Tensor:
        if call.attribute("select_last_index", 0):
            raise call.refused("picks the last of equals")
        value = call.tensor()
        return function(value, axis_of(call, value.ndim, 0), keepdim=bool(call.attribute("keepdims", 1)))

    return operator


def _top_k(call: Call) -> tuple[Tensor, ...]:
    value = call.tensor()
    axis = axis_of(call, value.ndim, -1)
    count = (call.integers(1, "k") or [1])[0]
    ordered = value.sort(dim=axis, descending=bool(call.attribute("largest", 1)), stable=True)
    return tuple(part.narrow(axis, 0, count) for part in ordered)


def _nonzero(call: Call) -> Tensor:
    return call.tensor().nonzero().T


def _from_front(index: Tensor, size: int) -> Tensor:
    """Return indices counted from the front, where ONNX also counts from the back."""
    index = index.to(torch.int64)
    return torch.where(index < 0, index + size, index)


TABLE: Mapping[str, Operator] = {
    "ArgMax": _best(torch.argmax),
    "ArgMin": _best(torch.argmin),
    "ConstantOfShape": _constant_of_shape,
    "CumSum": _cumulative_sum,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "NonZero": _nonzero,
    "Range": _range,
    "ScatterND": _scatter_nd,
    "Slice": _slice,
    "TopK": _top_k,
    "Trilu": _trilu,
}

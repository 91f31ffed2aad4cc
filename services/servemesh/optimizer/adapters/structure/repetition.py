"""Blocks that a network repeats, and a network without every other one of them.

A tensor through which everything flows on the way from the data to the outputs is a waist. Between two waists lies a
segment of the graph; segments with the same operators and weights of the same shapes, one behind the other, repeat.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import onnx

from servemesh.optimizer.adapters.structure.shapes import Shapes
from servemesh.optimizer.adapters.training.graph_parts import drop_unused


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Blocks of the same make, one behind the other; block `i` lies between `waists[i]` and `waists[i + 1]`."""

    waists: tuple[str, ...]

    @property
    def block_count(self) -> int:
        """Blocks in the run, 2 or more."""
        return len(self.waists) - 1


def repeated_blocks(model: onnx.ModelProto, shapes: Shapes) -> list[Run]:
    """Return the runs of repeated blocks, in the order of the graph; of ways to see them, the longest runs."""
    waists = _waists(model)
    makes = [_make(model, before, after, shapes) for before, after in pairwise(waists)]
    return [
        Run(waists=tuple(waists[begin + period * block] for block in range(times + 1)))
        for begin, period, times in _repetitions(makes, 0, len(makes))
    ]


def without_every_other(model: onnx.ModelProto, runs: list[Run]) -> onnx.ModelProto:
    """Return a copy without half of the blocks of each run, and without the weights that only they had."""
    shallow = onnx.ModelProto()
    shallow.CopyFrom(model)
    outputs = {value.name for value in model.graph.output}
    instead: dict[str, str] = {}
    for run in runs:
        ends = run.waists[-1] in outputs and run.block_count % 2 == 0  # then the last block makes the output
        for block in range(0 if ends else 1, run.block_count, 2):
            instead[run.waists[block + 1]] = run.waists[block]
    for node in shallow.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = instead.get(name, name)
    drop_unused(shallow.graph)
    del shallow.graph.value_info[:]
    onnx.checker.check_model(shallow)
    return shallow


def _repetitions(makes: list[tuple[str, ...]], begin: int, end: int) -> list[tuple[int, int, int]]:
    """Return begin, period and times of what repeats: the longest first, then what is left and right of it."""
    found = max(
        (_repetition(makes, start, end) for start in range(begin, end)), key=_covered, default=(0, 1, 1)
    )
    start, period, times = found
    if times < 2:
        return []
    left, right = _repetitions(makes, begin, start), _repetitions(makes, start + period * times, end)
    return [*left, found, *right]


def _repetition(makes: list[tuple[str, ...]], begin: int, end: int) -> tuple[int, int, int]:
    """Return the repetition with weights that starts here and covers most; the shortest period of equals."""
    best = (begin, 1, 1)
    for period in range(1, (end - begin) // 2 + 1):
        pattern, times = makes[begin : begin + period], 1
        if not any(":" in part for make in pattern for part in make):
            continue
        while begin + period * (times + 1) <= end and _same(makes, begin, begin + period * times, period):
            times += 1
        if times >= 2 and period * times > _covered(best):
            best = (begin, period, times)
    return best


def _same(makes: list[tuple[str, ...]], left: int, right: int, count: int) -> bool:
    return makes[left : left + count] == makes[right : right + count]


def _covered(repetition: tuple[int, int, int]) -> int:
    return repetition[1] * repetition[2] if repetition[2] > 1 else 1


def _waists(model: onnx.ModelProto) -> list[str]:
    """Return the tensors that every way from the data to the outputs goes through, in order.

    Of what is made from inputs alone, the data is what goes through most of them: words rather than a mask.
    """
    graph = model.graph
    outputs = {value.name for value in graph.output}
    order = [name for node in graph.node for name in node.output if name]
    place_of = {name: place for place, name in enumerate(order)}
    makers = {name: node for node in graph.node for name in node.output}
    end = len(order)
    next_waist = [end] * (end + 1)  # the immediate post-dominator of each tensor, by place
    users: dict[str, list[int]] = {name: [end] if name in outputs else [] for name in order}
    for node in graph.node:
        for name in node.input if node.op_type != "Shape" else ():  # who asks for a shape takes no data
            if name in users:
                users[name] += [place_of[output] for output in node.output if output]
    depth = [0] * (end + 1)
    for place in reversed(range(end)):
        next_waist[place] = _common(users[order[place]] or [end], next_waist)
        depth[place] = depth[next_waist[place]] + 1
    made = set(order)
    sources = [place_of[name] for name in order if not made & set(makers[name].input)]
    start = max(sources, key=lambda place: depth[place], default=end)
    found = []
    while start != end:
        found.append(order[start])
        start = next_waist[start]
    return found


def _common(places: list[int], next_waist: list[int]) -> int:
    """Return the nearest place that all ways from `places` go through; places grow along every way."""
    current = places[0]
    for other in places[1:]:
        while current != other:
            if current < other:
                current = next_waist[current]
            else:
                other = next_waist[other]
    return current


def _make(model: onnx.ModelProto, before: str, after: str, shapes: Shapes) -> tuple[str, ...]:
    """Return what the segment between two waists is made of: operators, attributes, sizes of weights and of its end."""
    makers = {name: node for node in model.graph.node for name in node.output}
    downstream = _downstream(model, before)
    sizes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    seen, waiting, parts = set(), [after], []
    while waiting:
        name = waiting.pop()
        node = makers.get(name)
        if node is None or name == before or id(node) in seen or name not in downstream:
            continue
        seen.add(id(node))
        parts.append(_described(node, sizes))
        waiting += node.input
    return (str(shapes.of(after)), *sorted(parts))


def _described(node: onnx.NodeProto, sizes: dict[str, tuple[int, ...]]) -> str:
    weights = [str(sizes[name]) for name in node.input if len(sizes.get(name, ())) >= 1]
    attributes = sorted(attribute.SerializeToString().hex() for attribute in node.attribute)
    return f"{node.op_type}({','.join(attributes)}){':' if weights else ''}{','.join(weights)}"


def _downstream(model: onnx.ModelProto, name: str) -> set[str]:
    reached = {name}
    for node in model.graph.node:
        if node.op_type != "Shape" and reached & set(node.input):
            reached.update(node.output)
    return reached

"""reduce_svm: fewer support vectors, with coefficients fitted so that decisions stay what they were."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from servemesh.optimizer.adapters.passes import agreement, models, vectors
from servemesh.optimizer.adapters.passes.context import PassContext
from servemesh.optimizer.adapters.passes.vectors import Vectors
from servemesh.optimizer.domain.passes.ensembles import ReduceSvmParameters

PASS = "reduce_svm"
Array = np.ndarray[Any, Any]
_RIDGE = 1e-6  # of the mean diagonal: keeps vectors that are nearly the same from cancelling each other
_ROUNDS = 25  # of k-means
_GROWTH = 1.25  # by how much the share of vectors grows when answers do not agree


@dataclass(frozen=True, slots=True, kw_only=True)
class _Machine:
    node: onnx.NodeProto
    whole: Vectors
    rows: Array  # that reach it, and its own vectors
    wanted: Array  # decisions on these


def apply(source: Path, target: Path, parameters: ReduceSvmParameters, context: PassContext) -> list[str]:
    """Write the smaller machine; more vectors stay where the answers would not agree often enough."""
    model = models.read(source)
    nodes = [node for node in models.nodes(model) if node.op_type in vectors.OPERATORS]
    fit, aside = agreement.batches(source, context, parameters.rows_max)
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for node in nodes:
            whole = vectors.read(node)
            if whole is None:
                continue
            rows = agreement.tapped(model, node.input[0], Path(folder), context.threads, fit)
            rows = np.concatenate([rows.astype(np.float64), whole.vectors])
            found.append(_Machine(node=node, whole=whole, rows=rows, wanted=whole.decisions(rows)))
    if not found:
        raise models.does_not_apply(PASS, "it has no support vectors", "use a pass for its kind of model")
    ratio = parameters.vector_ratio
    while ratio < 1:
        context.report.progress(0.3 + 0.6 * ratio, f"fitting {100 * ratio:.0f} % of the vectors")
        counts = [_reduce(machine, ratio, parameters.method, context.seed) for machine in found]
        models.write(model, target, models.read(source))
        agreed = agreement.agreement(source, target, context.threads, aside)
        if agreed >= parameters.agreement_min:
            before = sum(len(machine.whole.owner) for machine in found)
            return [
                f"{before} support vectors became {sum(counts)}.",
                agreement.note(agreed, aside),
            ]
        ratio *= _GROWTH
    raise models.does_not_apply(
        PASS,
        f"with fewer vectors its answers do not agree for {100 * parameters.agreement_min:.1f} % of the rows",
        "lower agreement_min, or give more rows",
        expected=parameters.agreement_min,
    )


def _reduce(machine: _Machine, ratio: float, method: str, seed: int) -> int:
    whole = machine.whole
    kept = [_chosen(whole, number, ratio, method, seed) for number in range(int(whole.owner.max()) + 1)]
    owner = np.concatenate([np.full(len(chosen), number) for number, chosen in enumerate(kept)])
    smaller = replace(
        whole,
        vectors=np.concatenate(kept).astype(np.float32).astype(np.float64),
        owner=owner,
        coefficients=np.zeros((len(whole.pairs), len(owner))),
    )
    vectors.write(machine.node, _fitted(smaller, machine.rows, machine.wanted))
    return len(owner)


def _chosen(whole: Vectors, number: int, ratio: float, method: str, seed: int) -> Array:
    """Return the vectors that stand for those of one class."""
    places = np.flatnonzero(whole.owner == number)
    count = max(1, round(ratio * len(places)))
    if count >= len(places):
        return whole.vectors[places]
    if method == "kmeans":
        return _centres(whole.vectors[places], count, seed)
    weight = np.abs(whole.coefficients[:, places]).sum(axis=0)
    return whole.vectors[np.sort(places[np.argsort(-weight, kind="stable")[:count]])]


def _centres(points: Array, count: int, seed: int) -> Array:
    """k-means, begun at points that are far from each other."""
    random = np.random.default_rng(seed)
    centres = points[random.choice(len(points), 1)]
    far = np.square(points - centres[0]).sum(axis=1)
    while len(centres) < count:
        share = far / far.sum() if far.sum() > 0 else None
        centres = np.concatenate([centres, points[random.choice(len(points), 1, p=share)]])
        far = np.minimum(far, np.square(points - centres[-1]).sum(axis=1))
    for _ in range(_ROUNDS):
        squares = np.square(centres).sum(axis=1)[None, :] - 2 * points @ centres.T
        nearest = squares.argmin(axis=1)
        moved = centres.copy()
        for number in np.unique(nearest):
            moved[number] = points[nearest == number].mean(axis=0)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


def _fitted(machine: Vectors, rows: Array, wanted: Array) -> Vectors:
    """Return the machine with the coefficients and constants whose decisions are nearest to `wanted`."""
    kernel = machine.kernel_of(rows, machine.vectors)
    coefficients, rho = machine.coefficients.copy(), machine.rho.copy()
    for number in range(len(machine.pairs)):
        part = machine.takes_part(number)
        columns = np.concatenate([kernel[:, part], np.ones((len(rows), 1))], axis=1)
        products = columns.T @ columns
        ridge = _RIDGE * float(np.trace(products)) / len(products)
        solved = np.linalg.solve(products + ridge * np.eye(len(products)), columns.T @ wanted[:, number])
        coefficients[number, part] = solved[:-1]
        rho[number] = solved[-1]
    return replace(machine, coefficients=coefficients, rho=rho)

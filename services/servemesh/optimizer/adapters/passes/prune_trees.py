"""prune_trees: fewer trees and fewer leaves that together answer as all of them did."""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from servemesh.optimizer.adapters.passes import agreement, compact_trees, models, trees
from servemesh.optimizer.adapters.passes.context import PassContext
from servemesh.optimizer.adapters.passes.running import Inputs
from servemesh.optimizer.adapters.passes.trees import Forest
from servemesh.optimizer.domain.passes.ensembles import PruneTreesParameters

PASS = "prune_trees"
Array = np.ndarray[Any, Any]
_PULL = 1e-2  # how strongly the votes of trees are held to what they were, in units of a tree's own share
_UNSEEN = 0.5  # how many rows a leaf counts for that no row reached
_NUMBERS_MAX = 1 << 22  # answers of trees that are held at a time
_GROWTH = 1.25  # by how much the share of trees grows when answers do not agree


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ensemble:
    forest: Forest
    averages: bool  # the runtime divides by the number of trees
    leaves: Array  # [rows, trees]: the leaf that each row ends in
    order: list[int]  # trees, the most useful first
    products: Array  # [trees, trees] of what trees answer
    shares: Array  # [trees] of products with what all answer together


def apply(source: Path, target: Path, parameters: PruneTreesParameters, context: PassContext) -> list[str]:
    """Write the smaller forest; more trees stay where the answers would not agree often enough."""
    model = models.read(source)
    nodes = compact_trees.ensembles(model, PASS)
    _check(nodes, parameters)
    fit, aside = agreement.batches(source, context, parameters.rows_max)
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for number, node in enumerate(nodes):
            context.report.progress(0.1 + 0.5 * number / len(nodes), f"trees of {node.name}")
            found.append(_measured(model, node, Path(folder), context, fit))
        ratio = parameters.tree_ratio
        while True:
            for node, ensemble in zip(nodes, found, strict=True):
                trees.write(node, _pruned(ensemble, ratio, parameters.node_ratio))
            models.write(model, target, models.read(source))
            agreed = agreement.agreement(source, target, context.threads, aside)
            if agreed >= parameters.agreement_min:
                break
            if ratio >= 1:
                raise _disagree(agreed, parameters)
            ratio = min(1.0, ratio * _GROWTH)
    return _notes(nodes, found, agreed, aside)


def _check(nodes: Sequence[onnx.NodeProto], parameters: PruneTreesParameters) -> None:
    if parameters.tree_ratio >= 1 and parameters.node_ratio >= 1:
        raise models.does_not_apply(
            PASS, "all trees and all nodes are to stay", "set tree_ratio or node_ratio"
        )
    for node in nodes:
        how = trees.option(node, "aggregate_function", "SUM")
        if how not in ("SUM", "AVERAGE"):
            raise models.does_not_apply(
                PASS, f"node {node.name!r} takes the {how} of its trees", "use compact_trees", node=node.name
            )


def _measured(
    model: onnx.ModelProto, node: onnx.NodeProto, folder: Path, context: PassContext, fit: Sequence[Inputs]
) -> _Ensemble:
    forest = compact_trees.compacted(trees.read(node))
    rows = agreement.tapped(model, node.input[0], folder, context.threads, fit)
    leaves = forest.leaves_reached(rows)
    products = _products(forest, leaves)
    shares = products.sum(axis=1)
    return _Ensemble(
        forest=forest,
        averages=trees.option(node, "aggregate_function", "SUM") == "AVERAGE",
        leaves=leaves,
        order=_order(products, shares),
        products=products,
        shares=shares,
    )


def _products(forest: Forest, leaves: Array) -> Array:
    """Return the products of what each two trees answer, summed over rows and targets."""
    products = np.zeros((forest.tree_count, forest.tree_count))
    rows = max(1, _NUMBERS_MAX // (forest.tree_count * forest.votes.shape[1]))
    for begin in range(0, len(leaves), rows):
        answers = forest.votes[leaves[begin : begin + rows]]
        flat = answers.transpose(1, 0, 2).reshape(forest.tree_count, -1)
        products += flat @ flat.T
    return products


def _order(products: Array, shares: Array) -> list[int]:
    """Return all trees so that the first few, scaled, answer most like all: one by one, the best that is left."""
    own = np.diag(products).copy()
    with_sum = np.zeros(len(shares))  # products of each tree with the sum of those taken
    sum_sum = sum_all = 0.0
    left = np.ones(len(shares), bool)
    order: list[int] = []
    while left.any():
        together = sum_all + shares
        explained = np.square(together) / np.maximum(sum_sum + 2 * with_sum + own, 1e-30)
        best = int(np.argmax(np.where(left, explained, -np.inf)))
        sum_sum += float(2 * with_sum[best] + own[best])
        sum_all += float(shares[best])
        with_sum += products[:, best]
        left[best] = False
        order.append(best)
    return order


def _pruned(ensemble: _Ensemble, tree_ratio: float, node_ratio: float) -> Forest:
    count = max(1, round(tree_ratio * ensemble.forest.tree_count))
    chosen = np.sort(ensemble.order[:count])
    scale = _scales(ensemble, chosen)
    if node_ratio >= 1:
        return compact_trees.compacted(ensemble.forest.kept(chosen, scale))
    reached = np.bincount(ensemble.leaves[:, chosen].ravel(), minlength=len(ensemble.forest.tree))
    stays = np.isin(ensemble.forest.tree, chosen)
    forest = ensemble.forest.kept(chosen, scale)
    return compact_trees.compacted(_with_fewer_leaves(forest, reached[stays], node_ratio))


def _scales(ensemble: _Ensemble, chosen: Array) -> Array:
    """Return what to multiply the votes of the chosen trees by, by least squares held near one common factor."""
    products = ensemble.products[np.ix_(chosen, chosen)]
    shares = ensemble.shares[chosen]
    common = float(shares.sum() / max(products.sum(), 1e-30))
    pull = _PULL * len(chosen) * float(np.diag(products).mean())
    scales: Array = np.linalg.solve(
        products + pull * np.eye(len(chosen)), shares + pull * common * np.ones(len(chosen))
    )
    return scales * len(chosen) / ensemble.forest.tree_count if ensemble.averages else scales


def _with_fewer_leaves(forest: Forest, reached: Array, node_ratio: float) -> Forest:
    """Merge pairs of leaves, the pair first whose merging changes least of what rows are answered."""
    weights = np.maximum(reached.astype(float), _UNSEEN)
    votes, leaf = forest.votes.copy(), forest.is_leaf.copy()
    parents = np.full(len(leaf), -1)
    inner = np.flatnonzero(~leaf)
    parents[forest.yes[inner]] = parents[forest.no[inner]] = inner
    queue = [
        (_cost(forest, votes, weights, int(node)), int(node))
        for node in inner
        if leaf[forest.yes[node]] and leaf[forest.no[node]]
    ]
    heapq.heapify(queue)
    count, wanted = len(leaf), max(forest.tree_count, round(node_ratio * len(leaf)))
    gone = np.zeros(len(leaf), bool)
    while queue and count > wanted:
        _, node = heapq.heappop(queue)
        pair = [forest.yes[node], forest.no[node]]
        total = weights[pair].sum()
        votes[node] = (votes[pair] * weights[pair][:, None]).sum(axis=0) / total
        weights[node] = total
        leaf[node], gone[pair] = True, True
        count -= 2
        parent = parents[node]
        if parent >= 0 and leaf[forest.yes[parent]] and leaf[forest.no[parent]]:
            heapq.heappush(queue, (_cost(forest, votes, weights, int(parent)), int(parent)))
    return forest.cut(leaf, votes).without(gone)


def _cost(forest: Forest, votes: Array, weights: Array, node: int) -> float:
    yes, no = forest.yes[node], forest.no[node]
    rows = weights[yes] * weights[no] / (weights[yes] + weights[no])
    return float(rows * np.square(votes[yes] - votes[no]).sum())


def _disagree(agreed: float, parameters: PruneTreesParameters) -> Exception:
    return models.does_not_apply(
        PASS,
        f"even with all trees {100 * agreed:.1f} % of the answers agree, and {100 * parameters.agreement_min:.1f} are "
        "asked for",
        "raise node_ratio, or lower agreement_min",
        expected=parameters.agreement_min,
        got=agreed,
    )


def _notes(
    nodes: Sequence[onnx.NodeProto], found: Sequence[_Ensemble], agreed: float, aside: Sequence[Inputs]
) -> list[str]:
    left = [trees.read(node) for node in nodes]
    before, after = sum(each.forest.tree_count for each in found), sum(each.tree_count for each in left)
    nodes_before = sum(len(each.forest.tree) for each in found)
    nodes_after = sum(len(each.tree) for each in left)
    return [
        f"{before} trees with {nodes_before} nodes became {after} trees with {nodes_after}.",
        agreement.note(agreed, aside),
    ]

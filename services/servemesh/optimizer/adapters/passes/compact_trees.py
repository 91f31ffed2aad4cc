"""compact_trees: forests without what adds nothing to their answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from servemesh.optimizer.adapters.passes import checking, models, trees
from servemesh.optimizer.adapters.passes.context import PassContext
from servemesh.optimizer.adapters.passes.trees import Forest
from servemesh.optimizer.domain.passes.spec import NoParameters

PASS = "compact_trees"
TOLERANCE = 1e-6


def apply(source: Path, target: Path, parameters: NoParameters, context: PassContext) -> list[str]:
    """Write the same trees in less room."""
    model, like = models.read(source), models.read(source)
    found = ensembles(model, PASS)
    before = after = 0
    size = model.ByteSize()
    for node in found:
        forest = trees.read(node)
        smaller = compacted(forest)
        before, after = before + len(forest.tree), after + len(smaller.tree)
        trees.write(node, smaller)
    if model.ByteSize() >= size:
        raise models.does_not_apply(PASS, "there is nothing in its trees to leave out", "use prune_trees")
    models.write(model, target, like)
    notes = checking.check_same(PASS, source, target, TOLERANCE, context)
    return [f"{before} nodes of trees became {after}; the answers are the same.", *notes]


def ensembles(model: onnx.ModelProto, pass_id: str) -> list[onnx.NodeProto]:
    """Return the nodes that are forests; InvalidError if there are none."""
    found = [node for node in models.nodes(model) if node.op_type in trees.OPERATORS]
    if not found and any(node.op_type == trees.NEWER for node in models.nodes(model)):
        raise models.does_not_apply(
            pass_id,
            f"its trees are a {trees.NEWER} of ai.onnx.ml 5, which onnxruntime runs and this pass cannot read",
            "convert it again for ai.onnx.ml 3 (the converters here do), or distil it into an mlp",
        )
    if not found:
        raise models.does_not_apply(
            pass_id,
            "it has no TreeEnsembleClassifier or TreeEnsembleRegressor",
            "use a pass for its kind of model",
        )
    return found


def compacted(forest: Forest) -> Forest:
    """Merge splits whose both sides are leaves with the same votes, until there are none."""
    while True:
        parents = np.flatnonzero(~forest.is_leaf)
        yes, no = forest.yes[parents], forest.no[parents]
        same = forest.is_leaf[yes] & forest.is_leaf[no]
        same &= (forest.votes[yes] == forest.votes[no]).all(axis=1)
        if not same.any():
            return forest
        nodes = parents[same]
        forest = forest.merged(nodes, forest.votes[forest.yes[nodes]])

"""Passes for forests, boosted trees and support vector machines."""

from __future__ import annotations

from dataclasses import dataclass

from servemesh.optimizer.domain.passes.parameters import parameter
from servemesh.optimizer.domain.passes.spec import PassSpec

_ROWS = "Rows that are used, of the calibrate split and then the train split."


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneTreesParameters:
    """Parameters of prune_trees."""

    tree_ratio: float = parameter(0.5, doc="Share of the trees that stay.", least=0.001, most=1)
    node_ratio: float = parameter(
        1.0,
        doc="Share of the nodes of those trees that stay; below 1, leaves are merged.",
        least=0.001,
        most=1,
    )
    agreement_min: float = parameter(
        0.0,
        doc="Trees are given back until the answers on rows put aside agree so often (classes) or explain so much of "
        "the variance (numbers).",
        least=0,
        most=1,
    )
    rows_max: int = parameter(4096, doc=_ROWS, least=16, most=1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReduceSvmParameters:
    """Parameters of reduce_svm."""

    vector_ratio: float = parameter(0.5, doc="Share of the support vectors that stay.", least=0.001, most=1)
    method: str = parameter(
        "magnitude",
        doc="Which vectors stay: those with the greatest coefficients, or the centres of clusters of all.",
        choices=("magnitude", "kmeans"),
    )
    agreement_min: float = parameter(
        0.0,
        doc="Vectors are given back until the answers on rows put aside agree so often (classes) or explain so much "
        "of the variance (numbers).",
        least=0,
        most=1,
    )
    rows_max: int = parameter(4096, doc=_ROWS, least=16, most=1_000_000)


ENSEMBLE_PASSES: tuple[PassSpec, ...] = (
    PassSpec(
        pass_id="compact_trees",
        description="Rewrites trees without what adds nothing: zero votes of leaves, splits whose both sides answer "
        "the same, attributes that hold their default. Every output stays the same number. Forests with many classes "
        "shrink most.",
        origin="servemesh",
        applies_to="forests and boosted trees",
    ),
    PassSpec(
        pass_id="prune_trees",
        description="Keeps the trees that together answer most like all of them, merges the leaves that change the "
        "answers least, and fits the votes that stay; then does what compact_trees does. Fewer trees are faster in "
        "proportion.",
        origin="servemesh, after Margineantu and Dietterich 1997, Pruning adaptive boosting, and Breiman et al. 1984 "
        "for leaves",
        parameters=PruneTreesParameters,
        calibrates=True,
        applies_to="forests and boosted trees",
    ),
    PassSpec(
        pass_id="reduce_svm",
        description="Keeps fewer support vectors and fits their coefficients anew, so that the decision function stays "
        "as near as possible to what it was. Time and size fall in proportion.",
        origin="servemesh, after Burges 1996, Simplified support vector decision rules",
        parameters=ReduceSvmParameters,
        calibrates=True,
        applies_to="support vector machines",
    ),
)

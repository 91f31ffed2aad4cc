"""Which passes are tried on which model, and in one word why one does not apply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from servemesh.optimizer.domain.passes.catalogue import PASSES
from servemesh.optimizer.domain.recipes import completed
from servemesh.optimizer.domain.results import PassStep

Steps = tuple[PassStep, ...]


def step(pass_id: str, **parameters: Any) -> PassStep:
    """Return a step; what is not given has its default."""
    return PassStep(pass_id=pass_id, parameters=parameters)


WITHOUT_TRAINING: tuple[Steps, ...] = (
    (step("simplify"),),
    (step("fuse"),),
    (step("fp16"),),
    (step("fp16", compute="float32"),),
    (step("bf16"),),
    (step("int8_dynamic"),),
    (step("int8_static"),),
    (step("int8_static", calibration="entropy"),),
    (step("int8_static", calibration="percentile"),),
    (step("weight_only", bits=8),),
    (step("weight_only", bits=4),),
    (step("prune_magnitude", sparsity=0.3),),
    (step("compact_trees"),),
    (step("prune_trees", tree_ratio=0.5),),
    (step("prune_trees", tree_ratio=0.25, node_ratio=0.5),),
    (step("reduce_svm", vector_ratio=0.5),),
    (step("reduce_svm", vector_ratio=0.25, method="kmeans"),),
)
SENSITIVE: Steps = (
    step("int8_static", sensitive_excluded=2),
)  # minutes for large networks, each layer by itself
DIGITS: tuple[Steps, ...] = (
    SENSITIVE,
    (step("prune_structured", ratio=0.5),),
    (step("prune_magnitude", sparsity=0.6), step("finetune")),
    (step("distil"),),
    (step("distil", width_kept=0.25),),
    (step("prune_structured", ratio=0.5), step("int8_static")),
)
PERCEPTRON: tuple[Steps, ...] = (
    SENSITIVE,
    (step("prune_structured", ratio=0.5),),
    (step("prune_magnitude", sparsity=0.6), step("finetune")),
    (step("distil", student="mlp"),),
)
# A few epochs on few rows: that it runs on large networks, and what so little training costs.
EFFICIENTNET: tuple[Steps, ...] = (
    (step("prune_structured", ratio=0.125, epochs=2, batch_size=16),),
    (step("prune_magnitude", sparsity=0.5), step("finetune", epochs=1, batch_size=16)),
    (step("distil", width_kept=0.75, epochs=2, batch_size=16, mixed_rows=0.0),),
)
MINILM: tuple[Steps, ...] = (
    (step("prune_structured", ratio=0.25, epochs=4),),
    (step("prune_magnitude", sparsity=0.5), step("finetune", epochs=2)),
    (step("distil", student="half_depth", epochs=6),),
)
TRAINED: Mapping[str, tuple[Steps, ...]] = {
    "mlp": PERCEPTRON,
    "cnn": DIGITS,
    "forest": PERCEPTRON,
    "svm": PERCEPTRON,
    "efficientnet": EFFICIENTNET,
    "minilm": MINILM,
}
MISSING: Mapping[str, str] = {
    "compact_trees": "treeless",
    "prune_trees": "treeless",
    "reduce_svm": "vectorless",
    "simplify": "simple",
    "fuse": "fused",
    "finetune": "weightless",
    "prune_magnitude": "weightless",
    "prune_structured": "layerless",
    "distil": "layerless",
    "int8_dynamic": "layerless",
    "int8_static": "layerless",
    "weight_only": "productless",
    "fp16": "weightless",
    "bf16": "weightless",
}
"""What a model is that a pass does not apply to."""
WORDS: Mapping[str, str] = {
    "OPERATOR_NOT_TRAINABLE": "untrainable",
    "PASS_FAILED": "failed",
    "MEMORY_EXCEEDED": "memory",
    "TIME_EXCEEDED": "time",
}
"""Other reasons in a word."""


def words(steps: Steps) -> str:
    """Return steps as a reader wants them: the pass and what was given; of a whole set what is not its default."""
    return " + ".join(_words(each) for each in steps)


def _words(each: PassStep) -> str:
    usual = completed(PassStep(pass_id=each.pass_id), PASSES).parameters
    is_whole = len(each.parameters) == len(usual)
    given = ", ".join(
        f"{name} {_short(value)}"
        for name, value in each.parameters.items()
        if not is_whole or value != usual[name]
    )
    return f"{each.pass_id} ({given})" if given else each.pass_id


def _short(value: Any) -> str:
    return f"of {len(value)} nodes" if isinstance(value, list | tuple) and len(value) > 1 else str(value)

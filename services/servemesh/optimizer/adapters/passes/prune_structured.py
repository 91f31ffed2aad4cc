"""prune_structured: removes whole channels, hidden units and heads, then trains what is left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.datasets.rows import Rows, Split
from servemesh.optimizer.adapters.passes import models
from servemesh.optimizer.adapters.passes.context import PassContext
from servemesh.optimizer.adapters.structure import importance
from servemesh.optimizer.adapters.structure.narrower import narrower
from servemesh.optimizer.adapters.training.graph_module import GraphModule, readable
from servemesh.optimizer.adapters.training.graph_parts import joined, set_aside
from servemesh.optimizer.adapters.training.lessons import Lesson, teach
from servemesh.optimizer.adapters.training.signature import fixed_rows, model_inputs
from servemesh.optimizer.domain.feeding import feeder
from servemesh.optimizer.domain.narrowing import Narrowing
from servemesh.optimizer.domain.passes.training import PruneStructuredParameters

Array = np.ndarray[Any, Any]
_POWER = {"l1": 1, "l2": 2}
_TAYLOR_ROWS_MAX, _TAYLOR_BATCH = 512, 8


def apply(
    source: Path, target: Path, parameters: PruneStructuredParameters, context: PassContext
) -> list[str]:
    """Write the pruned and recovered model to `target`; the original is the teacher unless another is given."""
    original = models.read(source)
    model, rest = set_aside(readable(original))
    context.report.progress(0.0, "finding what can be removed")
    narrowing = Narrowing(
        ratio=parameters.ratio,
        everywhere=parameters.scope == "global",
        multiple=parameters.multiple,
        keep_least=parameters.keep_least,
    )
    values = _importance(model, parameters, context)
    smaller, notes = narrower(
        model, narrowing, lambda group: importance.scores(group, values), parameters.excluded
    )
    smaller = joined(smaller, rest)
    if parameters.epochs and context.data is not None:
        lesson = Lesson(rows=context.data, teacher=context.teacher or source)
        notes += teach(smaller, lesson, parameters, context)
    models.write(smaller, target, original)
    return notes


def _importance(
    model: onnx.ModelProto, parameters: PruneStructuredParameters, context: PassContext
) -> Mapping[str, Array]:
    if parameters.importance in _POWER:
        return importance.magnitudes(model, _POWER[parameters.importance])
    if context.data is None:
        raise InvalidError(
            "Importance 'taylor' looks at calibration rows. Name a Dataset, or use 'l2'.",
            reason="PASS_NEEDS_ROWS",
            field="importance",
        )
    return importance.effects(GraphModule.from_model(model), _batches(model, context.data))


def _batches(model: onnx.ModelProto, rows: Rows) -> Iterator[Mapping[str, Array]]:
    feed = feeder(rows.columns, model_inputs(model))
    for batch in rows.batches(Split.CALIBRATE, fixed_rows(model) or _TAYLOR_BATCH, rows_max=_TAYLOR_ROWS_MAX):
        yield feed.inputs(batch.inputs)

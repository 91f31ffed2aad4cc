"""finetune: trains the weights on, against labels or a teacher's outputs."""

from __future__ import annotations

from pathlib import Path

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.passes import models
from servemesh.optimizer.adapters.passes.context import PassContext
from servemesh.optimizer.adapters.training.graph_module import readable
from servemesh.optimizer.adapters.training.lessons import Lesson, teach
from servemesh.optimizer.domain.passes.training import FinetuneParameters


def apply(source: Path, target: Path, parameters: FinetuneParameters, context: PassContext) -> list[str]:
    """Write the trained model to `target`. Weights that are zero stay zero, so that pruning before it is kept."""
    assert context.data is not None  # a pass that trains is not started without rows
    if context.teacher is None and not context.data.labels:
        raise InvalidError(
            "Fine-tuning learns from labels or from a teacher, and there is neither. Name a label column when the "
            "Dataset is created, or give a teacher.",
            reason="NOTHING_TO_LEARN",
            field="dataset",
        )
    original = models.read(source)
    model = readable(original)
    notes = teach(model, Lesson(rows=context.data, teacher=context.teacher), parameters, context)
    models.write(model, target, original)
    return notes

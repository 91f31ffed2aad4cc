"""distil: trains a small student on what a teacher says."""

from __future__ import annotations

from pathlib import Path

import onnx

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.datasets.rows import Split
from servemesh.optimizer.adapters.passes import models
from servemesh.optimizer.adapters.passes.context import PassContext
from servemesh.optimizer.adapters.structure import importance
from servemesh.optimizer.adapters.structure.fresh import refresh
from servemesh.optimizer.adapters.structure.narrower import narrower
from servemesh.optimizer.adapters.structure.repetition import repeated_blocks, without_every_other
from servemesh.optimizer.adapters.structure.shapes import shapes_of
from servemesh.optimizer.adapters.training.graph_module import readable
from servemesh.optimizer.adapters.training.graph_parts import joined, set_aside
from servemesh.optimizer.adapters.training.lessons import Lesson, teach
from servemesh.optimizer.adapters.training.perceptron import Sample, perceptron
from servemesh.optimizer.adapters.training.signature import model_inputs
from servemesh.optimizer.adapters.training.teacher import Teacher
from servemesh.optimizer.domain.feeding import feeder
from servemesh.optimizer.domain.narrowing import Narrowing
from servemesh.optimizer.domain.passes.training import DistilParameters

_SAMPLE_ROWS = 2048
_LAYERS_MAX, _UNITS_MAX = 4, 4096


def apply(source: Path, target: Path, parameters: DistilParameters, context: PassContext) -> list[str]:
    """Write the student to `target`. The teacher is the model itself unless another is given."""
    assert context.data is not None  # a pass that trains is not started without rows
    context.report.progress(0.0, "making the student")
    original = models.read(source)
    student, notes = _student(original, source, parameters, context)
    if parameters.weights == "fresh" and parameters.student in ("half_width", "half_depth"):
        refresh(student, context.seed)
    lesson = Lesson(rows=context.data, teacher=context.teacher or source, mixed_rows=parameters.mixed_rows)
    notes += teach(student, lesson, parameters, context)
    models.write(student, target, original)
    return notes


def _student(
    original: onnx.ModelProto, source: Path, parameters: DistilParameters, context: PassContext
) -> tuple[onnx.ModelProto, list[str]]:
    if parameters.student == "given":
        if context.teacher is None:
            raise InvalidError(
                "A given student needs a teacher: name the Version that teaches.",
                reason="TEACHER_NEEDED",
                field="student",
            )
        return readable(original), []
    if parameters.student == "mlp":
        return _perceptron(context.teacher or source, parameters, context)
    model = readable(original)
    if parameters.student == "half_depth":
        return _shallower(model)
    narrowing = Narrowing(
        ratio=1 - parameters.width_kept, everywhere=False, multiple=parameters.multiple, keep_least=0.01
    )
    part, rest = set_aside(model)
    sizes = importance.magnitudes(part, 2)
    smaller, notes = narrower(part, narrowing, lambda group: importance.scores(group, sizes))
    return joined(smaller, rest), notes


def _shallower(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    runs = repeated_blocks(model, shapes_of(model))
    if not runs:
        raise InvalidError(
            "The model repeats no block, so its depth cannot be halved. Try student 'half_width'.",
            reason="PASS_DOES_NOT_APPLY",
            field="student",
            got="half_depth",
        )
    counts = ", ".join(str(run.block_count) for run in runs)
    return without_every_other(model, runs), [f"Every other block was removed of runs of {counts}."]


def _perceptron(
    teacher: Path, parameters: DistilParameters, context: PassContext
) -> tuple[onnx.ModelProto, list[str]]:
    assert context.data is not None
    model, asked = models.read(teacher), Teacher.open(teacher, context.threads)
    feed = feeder(context.data.columns, model_inputs(model))
    batch = next(context.data.batches(Split.TRAIN, _SAMPLE_ROWS))
    inputs = feed.inputs(batch.inputs)
    sample = Sample(inputs=inputs, answers=asked.all_answers(inputs))
    sizes = _hidden_sizes(parameters.hidden_sizes)
    return perceptron(model, sample, sizes, context.seed), [
        f"The student has hidden layers of {sizes} units."
    ]


def _hidden_sizes(texts: tuple[str, ...]) -> list[int]:
    fits = 1 <= len(texts) <= _LAYERS_MAX and all(
        text.isdecimal() and 1 <= int(text) <= _UNITS_MAX for text in texts
    )
    if not fits:
        raise InvalidError(
            f"hidden_sizes are {list(texts)}, expected 1 to {_LAYERS_MAX} numbers from 1 to {_UNITS_MAX}.",
            reason="PASS_PARAMETER_INVALID",
            field="hidden_sizes",
            expected=f"1 to {_LAYERS_MAX} numbers from 1 to {_UNITS_MAX}",
            got=list(texts),
        )
    return [int(text) for text in texts]

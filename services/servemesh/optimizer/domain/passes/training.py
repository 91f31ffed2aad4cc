"""Passes that train: structured pruning with recovery, fine-tuning, distillation."""

from __future__ import annotations

from dataclasses import dataclass

from servemesh.optimizer.domain.passes.parameters import parameter
from servemesh.optimizer.domain.passes.spec import PassSpec

_LIBRARIES = ("numpy", "onnx", "onnxruntime", "torch")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingParameters:
    """What every pass that trains can be told about its training."""

    epochs: int = parameter(
        20, doc="Most passes over the training rows; 0 trains nothing.", least=0, most=10_000
    )
    batch_size: int = parameter(32, doc="Rows per step.", least=1, most=65_536)
    learning_rate: float = parameter(
        1e-3,
        doc="Greatest step; it rises over the first steps and falls to 0 by the last.",
        least=1e-8,
        most=10,
    )
    optimizer: str = parameter(
        "adamw", doc="How steps are made; sgd has Nesterov momentum 0.9.", choices=("adamw", "sgd")
    )
    weight_decay: float = parameter(0.01, doc="How fast weights shrink by themselves.", least=0, most=1)
    patience: int = parameter(
        10,
        doc="Epochs without a better loss on the held-out rows after which training stops.",
        least=1,
        most=10_000,
    )
    holdout_percent: int = parameter(
        10, doc="Share of the training rows that only tell when to stop, in per cent.", least=1, most=50
    )
    rows_max: int = parameter(
        100_000,
        doc="Most training rows that are read; they are copied to disk once.",
        least=2,
        most=100_000_000,
    )
    soft_share: float = parameter(
        0.7,
        doc="Weight of the teacher's outputs against the labels: 1 learns from the teacher alone, 0 from labels alone. "
        "Without labels it is 1.",
        least=0,
        most=1,
    )
    temperature: float = parameter(
        3.0,
        doc="How much the teacher's classes are softened; 1 leaves them as they are.",
        least=0.1,
        most=100,
    )
    label: str = parameter("", doc="Label column to learn; empty takes the only one.")
    output: str = parameter("", doc="Output that labels belong to; empty takes the first that holds numbers.")
    device: str = parameter(
        "auto", doc="Where to train; auto takes CUDA where there is one.", choices=("auto", "cpu", "cuda")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneStructuredParameters(TrainingParameters):
    """Parameters of prune_structured."""

    ratio: float = parameter(
        0.5, doc="Share of the channels, hidden units and heads to remove.", least=0, most=0.95
    )
    scope: str = parameter(
        "layer",
        doc="layer removes the share from each layer; global removes the least of all, whole layers more than others.",
        choices=("layer", "global"),
    )
    importance: str = parameter(
        "l2",
        doc="What tells how much a unit matters: the size of its weights (l1, l2), or how much the loss on the "
        "calibration rows would change without it (taylor).",
        choices=("l1", "l2", "taylor"),
    )
    multiple: int = parameter(
        8,
        doc="What is kept of a layer is rounded to a multiple of this, which suits vector units; 1 rounds nothing.",
        least=1,
        most=256,
    )
    keep_least: float = parameter(
        0.1, doc="Share of each layer that stays at least, however little it matters.", least=0.01, most=1
    )
    excluded: tuple[str, ...] = parameter((), doc="Layers to leave as they are, by node name or weight name.")


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneParameters(TrainingParameters):
    """Parameters of finetune."""

    learning_rate: float = parameter(
        3e-4,
        doc="Greatest step; it rises over the first steps and falls to 0 by the last.",
        least=1e-8,
        most=10,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DistilParameters(TrainingParameters):
    """Parameters of distil."""

    epochs: int = parameter(100, doc="Most passes over the training rows.", least=1, most=10_000)
    patience: int = parameter(
        25,
        doc="Epochs without a better loss on the held-out rows after which training stops.",
        least=1,
        most=10_000,
    )
    student: str = parameter(
        "half_width",
        doc="half_width keeps width_kept of the channels, hidden units and heads; half_depth keeps every other one of "
        "repeated blocks; mlp is a small perceptron made for the inputs and outputs, for teachers that are forests, "
        "support vector machines or anything else; given trains the model itself and needs a teacher.",
        choices=("half_width", "half_depth", "mlp", "given"),
    )
    width_kept: float = parameter(0.5, doc="Share of the width that half_width keeps.", least=0.02, most=1)
    weights: str = parameter(
        "kept",
        doc="Whether a student that is derived starts from the weights that it keeps or from fresh random ones.",
        choices=("kept", "fresh"),
    )
    hidden_sizes: tuple[str, ...] = parameter(
        ("64", "64"), doc="Units of the hidden layers of an mlp, 1 to 4 layers of 1 to 4096."
    )
    mixed_rows: float = parameter(
        2.0,
        doc="Rows to learn from the teacher besides the given ones, as a multiple of them: each lies between two given "
        "rows. Only where all inputs are floats and soft_share is above 0.",
        least=0,
        most=50,
    )
    multiple: int = parameter(8, doc="Widths are rounded to a multiple of this.", least=1, most=256)


TRAINING_PASSES: tuple[PassSpec, ...] = (
    PassSpec(
        pass_id="prune_structured",
        description="Removes whole channels, hidden units, attention heads and units of feed-forward layers from the "
        "graph, with all that hangs on them, so that the model is smaller and faster on every runtime; then trains "
        "what is left against the original and the labels.",
        origin="Li et al. 2017, Pruning filters for efficient ConvNets; Molchanov et al. 2019 for taylor; Fang et al. "
        "2023, DepGraph, for what belongs together",
        parameters=PruneStructuredParameters,
        calibrates=True,
        trains=True,
        applies_to="neural networks",
        libraries=_LIBRARIES,
    ),
    PassSpec(
        pass_id="finetune",
        description="Trains the weights on, against labels or a teacher's outputs, and keeps the state that was best "
        "on held-out rows. It brings back accuracy that a pass before it has cost, and changes neither size nor speed.",
        origin="torch; Loshchilov and Hutter 2019 for adamw",
        parameters=FinetuneParameters,
        trains=True,
        applies_to="neural networks",
        libraries=_LIBRARIES,
    ),
    PassSpec(
        pass_id="distil",
        description="Trains a small student on what a teacher says: the model itself, or a teacher that is given. The "
        "student has the inputs and outputs of the model. Forests and support vector machines teach a perceptron.",
        origin="Hinton et al. 2015, Distilling the knowledge in a neural network; Beyer et al. 2022, A good teacher is "
        "patient and consistent, for mixed rows",
        parameters=DistilParameters,
        trains=True,
        applies_to="any model",
        libraries=_LIBRARIES,
    ),
)

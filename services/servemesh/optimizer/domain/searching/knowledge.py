"""What a search knows: the model, the machine, the rows, and how each try went."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from servemesh.optimizer.domain import gates, pareto
from servemesh.optimizer.domain.results import PassStep, VariantReport
from servemesh.optimizer.domain.specs import Gate

Steps = tuple[PassStep, ...]

_CONVOLUTIONS = ("Conv", "ConvTranspose", "FusedConv", "QLinearConv")
_PRODUCTS = ("MatMul", "Gemm", "FusedMatMul", "FusedGemm")
_INTEGERS = (
    "QuantizeLinear",
    "DequantizeLinear",
    "QLinearConv",
    "MatMulInteger",
    "ConvInteger",
    "MatMulNBits",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """A model as its graph shows it."""

    operators: Mapping[str, int] = field(default_factory=dict)  # nodes by operator
    size_bytes: int = 0

    def count(self, names: Sequence[str]) -> int:
        """Return how many nodes have one of these operators."""
        return sum(self.operators.get(name, 0) for name in names)

    @property
    def layer_count(self) -> int:
        """Layers that can be quantised."""
        return self.count(_CONVOLUTIONS) + self.count(_PRODUCTS)

    @property
    def has_convolutions(self) -> bool:
        """Whether it convolves."""
        return self.count(_CONVOLUTIONS) > 0

    @property
    def has_products(self) -> bool:
        """Whether it multiplies matrices."""
        return self.count(_PRODUCTS) > 0

    @property
    def has_trees(self) -> bool:
        """Whether it is a forest or boosted trees."""
        return any(name.startswith("TreeEnsemble") for name in self.operators)

    @property
    def has_vectors(self) -> bool:
        """Whether it is a support vector machine."""
        return any(name.startswith("SVM") for name in self.operators)

    @property
    def is_quantized(self) -> bool:
        """Whether some of it computes in integers already."""
        return self.count(_INTEGERS) > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFacts:
    """The hardware that measures, as far as it tells which passes are worth a try first."""

    has_accelerator: bool = False
    multiplies_int8: bool = True  # VNNI, AMX or their like


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """Rows that passes may see."""

    calibrate_rows: int = 0
    train_rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is to be searched for, and where."""

    model: ModelFacts
    machine: MachineFacts = MachineFacts()
    data: DataFacts = DataFacts()
    gate: Gate = field(default_factory=Gate)

    def keeps_accuracy(self, variant: VariantReport) -> bool:
        """Whether the gate would not refuse `variant` for its loss."""
        return not gates.breaks_accuracy(self.gate, variant)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One candidate that was tried. `variant` is None where a pass did not apply or failed."""

    steps: Steps
    variant: VariantReport | None = None
    failure: str = ""
    pass_s: tuple[float, ...] = ()  # time that each step took; 0 for one that was known already
    measure_s: float = 0.0
    key: str = field(init=False, repr=False)  # tells it apart from every other

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", key_of(self.steps))


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """A question, and every try so far in its order.

    `sensitive` has the layers of the base by name, those that suffer most in int8 first; None: not measured yet.
    """

    question: Question
    trials: tuple[Trial, ...] = ()
    sensitive: tuple[str, ...] | None = None
    by_key: Mapping[str, Trial] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_key", {trial.key: trial for trial in self.trials})

    def find(self, steps: Sequence[PassStep]) -> Trial | None:
        """Return the try of exactly these steps."""
        return self.by_key.get(key_of(steps))

    def measured(self, steps: Sequence[PassStep]) -> VariantReport | None:
        """Return the figures of exactly these steps, None if they were not tried or failed."""
        trial = self.find(steps)
        return trial.variant if trial else None

    def keeps(self, steps: Sequence[PassStep]) -> VariantReport | None:
        """Return the figures of exactly these steps if they keep the accuracy."""
        variant = self.measured(steps)
        return variant if variant is not None and self.question.keeps_accuracy(variant) else None

    def breaks(self, steps: Sequence[PassStep]) -> VariantReport | None:
        """Return the figures of exactly these steps if they cost too much accuracy."""
        variant = self.measured(steps)
        return variant if variant is not None and not self.question.keeps_accuracy(variant) else None

    def failed(self, steps: Sequence[PassStep]) -> bool:
        """Whether these steps were tried and made no model."""
        trial = self.find(steps)
        return trial is not None and trial.variant is None


def key_of(steps: Sequence[PassStep]) -> str:
    """Return what tells sequences of passes apart."""
    return json.dumps([[step.pass_id, step.parameters] for step in steps], sort_keys=True, default=list)


def gains(variant: VariantReport) -> bool:
    """Whether it is faster than the original beyond noise, or smaller."""
    return not gates.gainless(variant)


def betters(variant: VariantReport, parent: VariantReport | None) -> bool:
    """Whether it gains on its `parent` enough to go on in its direction: a twentieth in size or in speed."""
    if parent is None:
        return gains(variant)
    return (
        variant.size_ratio <= parent.size_ratio * 0.95
        or pareto.speedup(variant) >= pareto.speedup(parent) * 1.05
    )

"""What is known of a pass before it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class NoParameters:
    """The parameters of a pass that has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassSpec:
    """One pass: what it does to which models, where the method comes from, and what can be set."""

    pass_id: str
    description: str
    origin: str
    parameters: type[Any] = NoParameters
    calibrates: bool = False  # it needs rows to look at
    trains: bool = False  # it needs rows to learn from
    applies_to: str  # kinds of model, in words
    libraries: tuple[str, ...] = (
        "numpy",
        "onnx",
        "onnxruntime",
    )  # packages whose versions the result depends on

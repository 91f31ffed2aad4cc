"""How near two models are to each other: what the same rows give in one and in the other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from servemesh.errors import InvalidError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """Greatest differences over all outputs and rows.

    `max_rel` is relative to the largest absolute value of its output in the reference. `argmax_agreement` is the
    share of rows whose arg-max over the last axis is the same, of the first output that has scores on that axis;
    None where none has. A number beside NaN, or text that differs, is an infinite difference or one of 1.
    """

    row_count: int
    max_abs: float
    max_rel: float
    argmax_agreement: float | None


class ParityTally:
    """Adds up the outputs of two models, batch by batch."""

    def __init__(self) -> None:
        self._row_count = 0
        self._differences: dict[str, float] = {}
        self._largest: dict[str, float] = {}
        self._scores: str | None = None  # the output whose arg-max is compared
        self._same = 0
        self._choices = 0

    def add(self, reference: Mapping[str, Array], candidate: Mapping[str, Array], *, row_count: int) -> None:
        """Count the outputs of one run of `row_count` rows, by name. InvalidError where names or shapes differ."""
        for name, expected in reference.items():
            _check_same_shape(name, expected, candidate.get(name))
        for name, expected in reference.items():
            difference, largest = _difference(np.asarray(expected), np.asarray(candidate[name]))
            self._differences[name] = max(self._differences.get(name, 0.0), difference)
            self._largest[name] = max(self._largest.get(name, 0.0), largest)
        self._row_count += row_count
        if self._scores is None:
            self._scores = next((name for name, array in reference.items() if has_scores(array)), None)
        if self._scores is not None:
            same = argmax_matches(reference[self._scores], candidate[self._scores])
            self._same += int(same.sum())
            self._choices += same.size

    def parity(self) -> Parity:
        """Return what was found so far."""
        ratios = (_ratio(self._differences[name], self._largest[name]) for name in self._differences)
        return Parity(
            row_count=self._row_count,
            max_abs=max(self._differences.values(), default=0.0),
            max_rel=max(ratios, default=0.0),
            argmax_agreement=self._same / self._choices if self._choices else None,
        )


def compared(reference: Mapping[str, Array], candidate: Mapping[str, Array], *, row_count: int) -> Parity:
    """Return how near the outputs of one run of `row_count` rows are."""
    tally = ParityTally()
    tally.add(reference, candidate, row_count=row_count)
    return tally.parity()


def has_scores(array: Array) -> bool:
    """Whether the last axis holds one score for each of two or more choices."""
    return array.dtype.kind not in "OSUTbiu" and array.ndim >= 2 and array.shape[-1] >= 2


def argmax_matches(reference: Array, candidate: Array) -> Array:
    """Return for each position before the last axis whether both choose the same."""
    same: Array = np.asarray(reference).argmax(axis=-1) == np.asarray(candidate).argmax(axis=-1)
    return same


def _check_same_shape(name: str, expected: Array, got: Array | None) -> None:
    if got is None or np.shape(expected) != np.shape(got):
        shape = "none" if got is None else list(np.shape(got))
        raise InvalidError(
            f"output {name!r} has shape {shape}, expected {list(np.shape(expected))} as in the other model",
            reason="OUTPUTS_DIFFER",
            field=name,
            expected=list(np.shape(expected)),
            got=shape,
        )


def _difference(expected: Array, got: Array) -> tuple[float, float]:
    """Return the greatest absolute difference, and the largest absolute value that was expected."""
    if not expected.size:
        return 0.0, 0.0
    if expected.dtype.kind in "OSUT" or got.dtype.kind in "OSUT":
        return (0.0 if _texts(expected) == _texts(got) else 1.0), 1.0
    wide, narrow = expected.astype(np.float64), got.astype(np.float64)
    with np.errstate(invalid="ignore"):
        differences = np.abs(wide - narrow)
    differences[(wide == narrow) | (np.isnan(wide) & np.isnan(narrow))] = 0.0  # inf - inf is no difference
    differences[np.isnan(differences)] = math.inf
    largest = np.abs(wide[np.isfinite(wide)])
    return float(differences.max()), float(largest.max(initial=0.0))


def _texts(array: Array) -> list[str]:
    return [item.decode() if isinstance(item, bytes) else str(item) for item in array.ravel().tolist()]


def _ratio(difference: float, largest: float) -> float:
    if not difference:
        return 0.0
    return difference / largest if largest else math.inf

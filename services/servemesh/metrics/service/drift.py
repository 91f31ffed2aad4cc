"""How far the inputs and outputs of a Version have moved from what they were at first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from servemesh.errors import ConflictError
from servemesh.exponential import ExponentialHistogram
from servemesh.exponential_buckets import EMPTY
from servemesh.metrics.domain.drift import FeatureDrift, drifted
from servemesh.metrics.domain.queries import Measure, Window
from servemesh.metrics.service.asking import Key, courses, merged
from servemesh.metrics.service.ports import Readings
from servemesh.metrics.service.windows import checked, history_missing
from servemesh.observe import names

FEATURES_MAX = 1000
ROWS_MIN = 100
_BY = ("tensor", "feature", "kind")
_ALL = "-1"
_DAY_S, _BACK_S = 86_400.0, 400 * 86_400.0
_STEP_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Features by psi, largest first."""

    features: tuple[FeatureDrift, ...]
    row_count: int
    reference_row_count: int


class Drifts:
    """Compares sampled features; what is sampled are histograms, never rows."""

    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    async def get(self, model: str, version: int, window: Window, reference: Window | None) -> Drift:
        """Return the drift; the reference is the first day of samples, if none is named.

        ConflictError if nothing is sampled of this Version, or too little.
        """
        checked(window)
        filters = {"model": (model,), "version": (str(version),)}
        first = checked(reference) if reference else await self._first_day(window, filters)
        name = f"models/{model}/versions/{version}"
        if first is None:
            raise ConflictError(
                f"features of {name} are not sampled: name {model} in SERVEMESH_WORKER_DRIFT_MODELS, start the "
                "workers again, and wait",
                reason="DRIFT_NOT_SAMPLED",
                name=name,
            )
        if reference is None:  # a window is not compared with itself
            first = Window(begin_s=first.begin_s, end_s=min(first.end_s, window.begin_s))
        if first.end_s <= first.begin_s:
            raise history_missing(
                f"drift of {name}",
                need_s=window.end_s - first.begin_s,
                got_s=window.end_s - window.begin_s,
                then="let the window begin later, after samples to compare with",
            )
        now = _signed(await merged(self._readings, names.WORKER_FEATURE_VALUES, window, _BY, filters))
        was = _signed(await merged(self._readings, names.WORKER_FEATURE_VALUES, first, _BY, filters))
        rows = [_rows(found) for found in (now, was)]
        if min(rows) < ROWS_MIN:
            raise ConflictError(
                f"{rows[0]} rows of {name} were sampled in the window and {rows[1]} in the reference, {ROWS_MIN} of "
                "each are needed: ask for longer windows, or sample a larger share",
                reason="SAMPLES_TOO_FEW",
                name=name,
                expected=ROWS_MIN,
                got=min(rows),
            )
        features = [
            drifted(tensor, int(feature), now[tensor, feature], was[tensor, feature])
            for tensor, feature in set(now) & set(was)
            if now[tensor, feature].count and was[tensor, feature].count
        ]
        features.sort(key=lambda each: (-each.psi, each.tensor, each.feature))
        return Drift(features=tuple(features[:FEATURES_MAX]), row_count=rows[0], reference_row_count=rows[1])

    async def _first_day(self, window: Window, filters: Mapping[str, tuple[str, ...]]) -> Window | None:
        """Return the day that begins with the first sample; None if there is none."""
        found = await courses(
            self._readings,
            names.WORKER_FEATURE_VALUES,
            Measure.INCREASE,
            Window(begin_s=max(0.0, window.end_s - _BACK_S), end_s=window.end_s),
            (),
            step_s=_STEP_S,
            filters=filters,
        )
        for values in found.values.values():
            sampled = np.flatnonzero(np.nan_to_num(values) > 0)
            if len(sampled):
                begin_s = found.begin_s + int(sampled[0]) * found.step_s
                return Window(begin_s=begin_s, end_s=begin_s + _DAY_S)
        return None


def _signed(told: Mapping[Key, ExponentialHistogram]) -> dict[tuple[str, str], ExponentialHistogram]:
    """Return by tensor and feature the distribution of both signs, which are told apart."""
    found: dict[tuple[str, str], ExponentialHistogram] = {}
    for (tensor, feature, kind), histogram in told.items():
        if kind == "negative":
            histogram = replace(histogram, positive=EMPTY, negative=histogram.positive)
        known = found.get((tensor, feature), ExponentialHistogram())
        found[tensor, feature] = known.merged([replace(histogram, sum=0.0, min=math.nan, max=math.nan)])
    return found


def _rows(found: Mapping[tuple[str, str], ExponentialHistogram]) -> int:
    """Return how many rows were sampled: one value of each feature is counted of each."""
    return max((each.count for (_, feature), each in found.items() if feature != _ALL), default=0)

"""Counts some of the rows that pass into histograms, feature by feature, so that drift can be seen; rows stay here."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from servemesh.observe import metrics, names
from servemesh.worker.service.execution import Array, Runtime, Stop

FEATURES_MAX = 32
"""Of one tensor, each by itself; all of them together are the feature -1."""
TENSORS_MAX = 16
_ALL = "-1"
_NUMBERS = "fiub"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """The models whose rows are sampled, and which share of them."""

    models: frozenset[str]
    share: float


class SampledRuntime:
    """Runs a model, and looks at one row of some of the runs."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        model: str,
        version_id: int,
        share: float,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._runtime = runtime
        self._share = share
        self._chance = chance
        self._labels = {"model": model, "version": str(version_id)}
        self._tensors: set[str] = set()
        self._observe: dict[tuple[str, str, str], Callable[[float], None]] = {}

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str], stop: Stop) -> list[Array]:
        """Block until the model has run."""
        answers = self._runtime.run(inputs, outputs, stop)
        rows = min((len(array) for array in inputs.values() if array.ndim), default=0)
        if rows and self._chance() < self._share * rows:
            place = int(self._chance() * rows)
            for name, array in (*inputs.items(), *zip(outputs, answers, strict=True)):
                if array.ndim and len(array) == rows and array.dtype.kind in _NUMBERS:
                    self._look(name, array[place])
        return answers

    def _look(self, tensor: str, row: Array) -> None:
        if tensor not in self._tensors and len(self._tensors) >= TENSORS_MAX:
            return
        self._tensors.add(tensor)
        values = np.ravel(row)
        for feature, value in enumerate(values[:FEATURES_MAX].tolist()):
            self._count(tensor, str(feature), float(value))
        for value in values[:: max(1, len(values) // FEATURES_MAX)][:FEATURES_MAX].tolist():
            self._count(tensor, _ALL, float(value))

    def _count(self, tensor: str, feature: str, value: float) -> None:
        if not np.isfinite(value):
            return
        # Recorders have buckets for one sign only.
        key = (tensor, feature, "negative" if value < 0 else "positive")
        observe = self._observe.get(key)
        if observe is None:
            labels = dict(zip(("tensor", "feature", "kind"), key, strict=True))
            observe = metrics.histogram(names.WORKER_FEATURE_VALUES).labels(**self._labels, **labels).observe
            self._observe[key] = observe
        observe(abs(value))

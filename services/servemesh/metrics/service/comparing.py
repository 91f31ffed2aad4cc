"""Compares two Versions of a Model over the same window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from servemesh import names as resources
from servemesh.errors import InvalidError
from servemesh.exponential import ExponentialHistogram
from servemesh.metrics.domain.binning import Binned, binned
from servemesh.metrics.domain.comparing import BLOCKS_MIN, Comparison, Side, compared
from servemesh.metrics.domain.queries import Window
from servemesh.metrics.service.asking import Key, growth, merged
from servemesh.metrics.service.ports import Readings
from servemesh.metrics.service.windows import checked, history_missing, require_calls
from servemesh.observe import names

BLOCKS = 30
_BLOCK_S_MIN = 5.0
"""Workers tell what they did every five seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Every measure that both have."""

    comparisons: tuple[Comparison, ...]
    baseline_calls: int
    candidate_calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    calls: Mapping[Key, float]
    durations: Mapping[Key, ExponentialHistogram]
    rows: Mapping[Key, ExponentialHistogram]


class VersionComparison:
    """Reads block by block, so that it is known how much blocks scatter."""

    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    async def compare(self, baseline: str, candidate: str, window: Window) -> Result:
        """Compare two Versions by name. MissingError for one that was never called."""
        model, first = resources.version_ids(baseline)
        other, second = resources.version_ids(candidate)
        if model != other or first == second:
            raise InvalidError(
                f"candidate is {candidate}, expected another Version of models/{model}",
                reason="VERSIONS_INCOMPARABLE",
                field="candidate",
                baseline=baseline,
                candidate=candidate,
            )
        versions = (str(first), str(second))
        span_s = checked(window).end_s - window.begin_s
        blocks = min(BLOCKS, int(span_s / _BLOCK_S_MIN))
        if blocks < BLOCKS_MIN:
            raise history_missing(
                "a comparison",
                need_s=BLOCKS_MIN * _BLOCK_S_MIN,
                got_s=span_s,
                then="ask for a longer window",
            )
        for version in versions:
            await require_calls(self._readings, window, model, version)
        filters = {"model": (model,), "version": versions}
        edges = np.linspace(window.begin_s, window.end_s, blocks + 1).tolist()
        read = [
            await self._block(Window(begin_s=begin, end_s=end), filters) for begin, end in pairwise(edges)
        ]
        sides = _sides(read, versions)
        return Result(
            comparisons=tuple(compared(*sides)),
            baseline_calls=round(float(sides[0].calls.sum())),
            candidate_calls=round(float(sides[1].calls.sum())),
        )

    async def _block(self, window: Window, filters: Mapping[str, tuple[str, ...]]) -> _Block:
        by = ("version",)
        return _Block(
            calls=await growth(self._readings, names.WORKER_CALLS, window, ("version", "outcome"), filters),
            durations=await merged(self._readings, names.WORKER_CALL_DURATION, window, by, filters),
            rows=await merged(self._readings, names.WORKER_BATCH_ROWS, window, by, filters),
        )


def _sides(blocks: list[_Block], versions: tuple[str, str]) -> tuple[Side, Side]:
    nothing = ExponentialHistogram()
    durations = [[block.durations.get((version,), nothing) for block in blocks] for version in versions]
    both = binned(durations[0] + durations[1])
    sides = []
    for place, version in enumerate(versions):
        rows = [block.rows.get((version,), nothing) for block in blocks]
        outcomes = {
            outcome: np.array([block.calls.get((version, outcome), 0.0) for block in blocks])
            for outcome in ("answered", "failed", "refused")
        }
        sides.append(
            Side(
                calls=sum(outcomes.values(), np.zeros(len(blocks))),
                failed=outcomes["failed"],
                durations=Binned(
                    low=both.low,
                    high=both.high,
                    counts=both.counts[place * len(blocks) : (place + 1) * len(blocks)],
                ),
                duration_s=np.array([each.sum for each in durations[place]]),
                rows=np.array([each.sum for each in rows]),
                runs=np.array([float(each.count) for each in rows]),
            )
        )
    return sides[0], sides[1]

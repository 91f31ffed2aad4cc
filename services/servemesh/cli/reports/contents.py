"""What a report says: the same rows for every form of it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from servemesh.cli import job_output, output
from servemesh.cli.job_output import Defaults
from servemesh.client import Evaluation, LogLine, Measurements, Optimization, Parity, Variant

# What a search logs of the layers of a model.
_SENSITIVE = re.compile(r"most sensitive to int8 of \d+ layers: (.*)")
_LAYER = re.compile(r"(\S+) \((-?\d+ dB)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A job that has found something, with all that is known around it."""

    job: Optimization | Evaluation
    result: Measurements
    defaults: Defaults
    log: Sequence[LogLine]
    parity: Parity | None
    """How near the source Version is to the program that it was converted from."""

    @property
    def models(self) -> list[Variant]:
        """The baseline, if there is one, and the variants, best first."""
        return [*([self.result.baseline] if self.result.baseline else []), *self.result.variants]

    @property
    def batch_sizes(self) -> list[int]:
        """Rows per run that were measured."""
        return sorted({speed.batch_size for each in self.models for speed in each.speeds})

    def name(self, variant: Variant) -> str:
        """Return what a model is called."""
        return job_output.words(variant, self.defaults)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return headings and rows: one for each model."""
        sizes = self.batch_sizes
        headings = ["", "Model", "Size", "C", *(f"ms at {size}" for size in sizes)]
        headings += [
            *(f"O at {size}" for size in sizes),
            "Metric",
            "Loss",
            "p",
            "Load s",
            "Memory",
            "Verdict",
        ]
        return headings, [self._row(number, each, sizes) for number, each in enumerate(self.models)]

    def gains(self) -> list[list[str]]:
        """Return what each pass did to the model before it, where both were measured: pass, size, speed, loss."""
        known = {_key(each): each for each in self.models}
        rows = []
        for each in self.result.variants:
            before = known.get(_key(each)[:-1]) if each.steps else None
            if before is None:
                continue
            rows.append(
                [
                    f"{self.name(before)} → {self.name(each).rpartition(' + ')[2]}",
                    f"x {each.size_bytes / max(before.size_bytes, 1):.2f}",
                    f"x {speedup(each) / (speedup(before) or 1):.2f}",
                    f"{_loss(each) - _loss(before):+.4f}",
                ]
            )
        return rows

    def refusals(self) -> list[tuple[str, str]]:
        """Return why variants were refused: name and reason."""
        return [(self.name(each), why) for each in self.result.variants for why in each.refusals]

    def sensitivity(self) -> list[list[str]]:
        """Return the layers that suffer most in int8, as a search found them: name, and signal over noise."""
        lines = (_SENSITIVE.match(line.text) for line in self.log)
        return [[*layer] for line in lines if line for layer in _LAYER.findall(line[1])]

    def _row(self, number: int, variant: Variant, sizes: Sequence[int]) -> list[str]:
        by_size = {speed.batch_size: speed for speed in variant.speeds}
        found = [by_size.get(size) for size in sizes]
        return [
            f"{number}*" if variant.pareto else str(number),
            self.name(variant),
            output.size(variant.size_bytes),
            f"{variant.size_ratio:.3f}",
            *(job_output.figure(speed.run_ms) if speed else "" for speed in found),
            *(job_output.figure(speed.speedup, 2) if speed else "" for speed in found),
            job_output.figure(variant.metric),
            job_output.figure(variant.metric_loss),
            "" if variant.metric_loss_chance is None else f"{variant.metric_loss_chance:.2g}",
            job_output.figure(variant.cold_load_s),
            output.size(variant.memory_bytes),
            job_output.verdict(variant),
        ]


def speedup(variant: Variant) -> float:
    """Return the speed-up over all batch sizes, the geometric mean; 0 if none was measured."""
    values = [speed.speedup.value for speed in variant.speeds if speed.speedup.value > 0]
    return math.exp(sum(map(math.log, values)) / len(values)) if values else 0.0


def _key(variant: Variant) -> tuple[str, ...]:
    return tuple(f"{step.pass_id} {sorted(step.parameters.items())}" for step in variant.steps)


def _loss(variant: Variant) -> float:
    return variant.metric_loss.value if variant.metric_loss else 0.0

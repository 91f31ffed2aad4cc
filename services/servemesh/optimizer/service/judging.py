"""What becomes of measured variants: the gate, the front, the order, and what is written into a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from servemesh.optimizer.domain import gates, pareto
from servemesh.optimizer.domain.results import OptimizationResult, VariantReport
from servemesh.optimizer.domain.specs import Gate
from servemesh.optimizer.service.bench_measuring import Measured

DOMINATED = "another variant is at least as good in metric, size and speed, and better in one of them"
PASSED_OVER = "others did better in the search, and only the best are measured with care"


def judged(gate: Gate, variants: Sequence[VariantReport], *, front_only: bool = False) -> list[VariantReport]:
    """Return the variants with verdict and Pareto mark, best first; `front_only` refuses those off the front."""
    found = []
    for variant in pareto.marked(variants):
        reasons = (*gates.refusals(gate, variant), *gates.gainless(variant))
        if not reasons and front_only and not variant.pareto:
            reasons = (DOMINATED,)
        found.append(replace(variant, accepted=not reasons, refusals=reasons))
    return pareto.best_first(found)


def passed_over(gate: Gate, variants: Sequence[VariantReport]) -> list[VariantReport]:
    """Return variants of a search that were not measured with care, all refused, best first."""
    found = []
    for variant in variants:
        reasons = (*gates.refusals(gate, variant), *gates.gainless(variant)) or (PASSED_OVER,)
        found.append(replace(variant, accepted=False, pareto=False, refusals=reasons))
    return pareto.best_first(found)


def summary(variant: VariantReport) -> str:
    """Return size, speed and loss of a variant in one line."""
    loss = f", metric loss {variant.metric_loss.value:.4g}" if variant.metric_loss else ""
    speeds = ", ".join(f"{speed.speedup.value:.3g} x at {speed.batch_size}" for speed in variant.speeds)
    return f"size x {variant.size_ratio:.3g}; speed {speeds or 'not measured'}{loss}"


def result(
    measured: Measured, variants: Sequence[VariantReport], libraries: Mapping[str, str]
) -> OptimizationResult:
    """Return the result of a job: `variants` beside the baseline of `measured`."""
    return OptimizationResult(
        baseline=measured.reports[0],
        variants=tuple(variants),
        hardware=measured.hardware,
        libraries=dict(sorted({**measured.libraries, **libraries}.items())),
    )

"""What becomes of measured variants: the gate, the front, the order, and what is written into a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from servemesh.optimizer.domain import gates, pareto
from servemesh.optimizer.domain.results import OptimizationResult, VariantReport
from servemesh.optimizer.domain.specs import Gate
from servemesh.optimizer.service.bench_measuring import Measured

COVERED = "another accepted variant is no larger, loses no more of the metric, and is as fast within noise"
PASSED_OVER = "others did better in the search, and only the best are measured with care"


def judged(gate: Gate, variants: Sequence[VariantReport], *, distinct: bool = False) -> list[VariantReport]:
    """Return the variants with verdict and Pareto mark, best first.

    `distinct` refuses those that another accepted one covers: so that a search does not register two of a kind.
    """
    found = []
    for variant in pareto.marked(variants):
        reasons = (*gates.refusals(gate, variant), *gates.gainless(variant))
        found.append(replace(variant, accepted=not reasons, refusals=reasons))
    ordered = pareto.best_first(found)
    return pareto.best_first(_distinct(ordered)) if distinct else ordered


def _distinct(ordered: Sequence[VariantReport]) -> list[VariantReport]:
    taken: list[VariantReport] = []
    found = []
    for variant in ordered:
        if variant.accepted and any(pareto.covers(other, variant) for other in taken):
            variant = replace(variant, accepted=False, refusals=(COVERED,))
        if variant.accepted:
            taken.append(variant)
        found.append(variant)
    return found


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
    slower = "; slower than the original on this machine, so never chosen for speed"
    remark = slower if pareto.is_slower(variant) else ""
    return f"size x {variant.size_ratio:.3g}; speed {speeds or 'not measured'}{loss}{remark}"


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

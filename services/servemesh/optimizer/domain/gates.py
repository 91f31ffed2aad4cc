"""Whether a measured Variant may be taken: the user's limits against the ends of the intervals."""

from __future__ import annotations

from servemesh.optimizer.domain import pareto
from servemesh.optimizer.domain.results import Interval, SpeedReport, VariantReport
from servemesh.optimizer.domain.specs import Gate


def refusals(gate: Gate, variant: VariantReport) -> tuple[str, ...]:
    """Return why `variant` is refused, a sentence with figure and limit for each reason; none: it is accepted.

    The ends of the intervals count that speak against it: what may be noise is not taken for kept accuracy or
    for speed. A figure that the gate asks about and that was not measured refuses.
    """
    return (*_loss(gate, variant), *_size(gate, variant), *_speed(gate, variant))


def gainless(variant: VariantReport) -> tuple[str, ...]:
    """Return why `variant` is not worth a Version: that it is neither faster nor smaller. None if it is."""
    low, high = pareto.speedup_low(variant), pareto.speedup_high(variant)
    if low > 1.0 or variant.size_ratio <= pareto.SMALLER:
        return ()
    return (
        f"it gains nothing: {variant.size_ratio:.4g} of the size, {pareto.speedup(variant):.4g} times as fast "
        f"(interval {low:.4g} to {high:.4g})",
    )


def breaks_accuracy(gate: Gate, variant: VariantReport) -> bool:
    """Whether its loss of the metric alone would refuse it."""
    return bool(_loss(gate, variant))


def _loss(gate: Gate, variant: VariantReport) -> tuple[str, ...]:
    limit, loss = gate.metric_loss_max, variant.metric_loss
    if limit is None or (loss is not None and loss.high <= limit):
        return ()
    if loss is None:
        return (f"the loss of the metric was not measured, and at most {limit:.4g} is allowed",)
    return (
        f"the metric may have lost {loss.high:.4g} (measured {_interval(loss)}), more than the {limit:.4g} allowed",
    )


def _size(gate: Gate, variant: VariantReport) -> tuple[str, ...]:
    limit = gate.size_ratio_max
    if limit is None or variant.size_ratio <= limit:
        return ()
    return (f"the size is {variant.size_ratio:.4g} of what it was, more than the {limit:.4g} allowed",)


def _speed(gate: Gate, variant: VariantReport) -> tuple[str, ...]:
    limit = gate.speedup_min
    if limit is None:
        return ()
    if not variant.speeds:
        return (f"the speed was not measured, and at least {limit:.4g} times the original's is asked",)
    slow = [speed for speed in variant.speeds if not speed.speedup.low >= limit]
    return tuple(_too_slow(speed, limit) for speed in slow)


def _too_slow(speed: SpeedReport, limit: float) -> str:
    return (
        f"at {_rows(speed.batch_size)} per run it is {speed.speedup.low:.4g} times as fast or a little more "
        f"(measured {_interval(speed.speedup)}), less than the {limit:.4g} asked"
    )


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _interval(found: Interval) -> str:
    return f"{found.value:.4g}, interval {found.low:.4g} to {found.high:.4g}"

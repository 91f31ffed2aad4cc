"""Figures and spans as people read them in alerts, rules and reports."""

from __future__ import annotations

import math

from servemesh.metrics.domain.alerting.rules import (
    Absence,
    BurnRate,
    CapacityForecast,
    Rule,
    Shows,
    Signal,
    Threshold,
    Trend,
)

_SPANS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "m"), (1.0, "s"))


def span(span_s: float) -> str:
    """Return a span as the rules write it: 90s, 5m, 1h, 3d."""
    for size_s, unit in _SPANS:
        if span_s >= size_s and math.isclose(span_s % size_s, 0.0, abs_tol=1e-9):
            return f"{span_s / size_s:.0f}{unit}"
    return f"{span_s:.3g}s"


def rough_span(span_s: float) -> str:
    """Return a span in its largest unit: 3.2 h, 45 min."""
    for size_s, unit in ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min")):
        if span_s >= size_s * (1.0 if unit == "min" else 1.5):
            return f"{span_s / size_s:.3g} {unit}"
    return f"{span_s:.3g} s"


def figure(value: float, shows: Shows) -> str:
    """Return a value with its unit."""
    if math.isnan(value):
        return "unknown"
    match shows:
        case Shows.SECONDS:
            return f"{value * 1000:.3g} ms" if abs(value) < 1 else rough_span(value)
        case Shows.PERCENT:
            return f"{value * 100:.3g} %"
        case Shows.BYTES:
            return _bytes(value)
        case Shows.TIMES:
            return f"{value:.3g}x"
        case _:
            return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"


def condition(rule: Rule) -> str:
    """Return a rule's condition in a line."""
    by = f", by {', '.join(rule.by)}" if rule.by else ""
    return f"{_condition(rule)}{by}"


def _condition(rule: Rule) -> str:
    found, lasting = rule.condition, f" for {span(rule.for_s)}" if rule.for_s else ""
    match found:
        case Threshold():
            sign = ">" if found.is_above else "<"
            what = _ratio(found.signal, found.divisor)
            return f"{what} {sign} {figure(found.limit, rule.shows)}{lasting}"
        case Absence():
            return f"no {found.signal.metric} for {span(found.signal.window_s)}{lasting}"
        case BurnRate():
            pairs = " or ".join(
                f"{each.factor:g}x over {span(each.long_s)} and {span(each.short_s)}"
                for each in found.windows
            )
            return f"error budget of {100 * (1 - found.objective):.3g} % burns {pairs}{lasting}"
        case Trend():
            what = _ratio(found.signal, found.divisor)
            limit = figure(found.limit, rule.shows)
            return f"{what} reaches {limit} in {span(found.within_s)}{lasting}"
        case CapacityForecast():
            return f"expected demand exceeds capacity in {span(found.within_s)}{lasting}"


def _ratio(signal: Signal, divisor: Signal | None) -> str:
    return _signal(signal) if divisor is None else f"{_signal(signal)} ÷ {_signal(divisor)}"


def _signal(signal: Signal) -> str:
    measure = f"p{signal.quantile * 100:g}" if signal.measure == "quantile" else str(signal.measure)
    where = "".join(f"{{{label}={'|'.join(values)}}}" for label, values in sorted(signal.where.items()))
    window = f"[{span(signal.window_s)}]" if signal.window_s else ""
    return f"{measure}({signal.metric}{where}{window})"


def _bytes(value: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.3g} TiB"

"""What a rule asks of the store, and what it makes of the answers: plain functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Template

import numpy as np

from servemesh.metrics.domain.alerting import words
from servemesh.metrics.domain.alerting.alerts import Observation
from servemesh.metrics.domain.alerting.rules import (
    Absence,
    BurnRate,
    BurnWindow,
    CapacityForecast,
    Rule,
    Shows,
    Threshold,
    Trend,
)
from servemesh.metrics.domain.queries import Annotation, Answer, Query

ABSENCE_STEPS_MAX = 1_000
TREND_STEPS = 30
TREND_STEPS_MIN = 5
TREND_KEEPS = 1.5
"""A trend that fires is over once it is this many times further away than what makes it fire."""

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """A model whose demand is expected to pass what there is: when, and how large it is at its peak."""

    model: str
    exceeded_s: float
    peak_demand: float


def questions(rule: Rule, now_s: float) -> tuple[Query, ...]:
    """Return what to ask; `observations` takes the answers in this order."""
    condition = rule.condition
    match condition:
        case Threshold():
            signals = [condition.signal, condition.divisor, condition.count]
            return tuple(signal.query(rule.by, now_s) for signal in signals if signal is not None)
        case Absence():
            step_s = max(condition.signal.window_s, condition.lookback_s / ABSENCE_STEPS_MAX)
            begin_s = math.ceil(condition.lookback_s / step_s) * step_s
            return (condition.signal.query(rule.by, now_s, window_s=begin_s, step_s=step_s),)
        case BurnRate():
            spans = _spans(condition)
            return tuple(
                signal.query(rule.by, now_s, window_s=span_s)
                for span_s in spans
                for signal in (condition.bad, condition.all)
            )
        case Trend():
            signals = [condition.signal, condition.divisor]
            step_s = condition.history_s / TREND_STEPS
            return tuple(
                signal.query(rule.by, now_s, window_s=condition.history_s, step_s=step_s)
                for signal in signals
                if signal is not None
            )
        case CapacityForecast():
            return ()


def observations(
    rule: Rule,
    answers: Sequence[Answer],
    now_s: float,
    *,
    notes: Sequence[Annotation] = (),
    shortages: Sequence[Shortage] = (),
    up_s: float = math.inf,
) -> tuple[Observation, ...]:
    """Return what the rule sees of each subject. `up_s` is for how long measurements have been taken in.

    `notes` are annotations of the lookback of an absence, `shortages` what the forecast of capacity says.
    """
    condition = rule.condition
    match condition:
        case Threshold():
            return _threshold(rule, condition, answers)
        case Absence():
            return _absence(rule, condition, answers[0], now_s, notes, up_s)
        case BurnRate():
            return _burn_rate(rule, condition, answers)
        case Trend():
            return _trend(rule, condition, answers)
        case CapacityForecast():
            return _shortage(rule, condition, shortages, now_s)


def _threshold(rule: Rule, condition: Threshold, answers: Sequence[Answer]) -> tuple[Observation, ...]:
    rest = list(answers[1:])
    values = _last(rule, answers[0])
    if condition.divisor is not None:
        values = _divided(values, _last(rule, rest.pop(0)))
    counts = _last(rule, rest[0]) if condition.count is not None else None
    found = []
    for key, value in values.items():
        if math.isnan(value) or (counts is not None and not counts.get(key, 0.0) >= condition.count_min):
            continue
        holds = value > condition.limit if condition.is_above else value < condition.limit
        is_over = value <= condition.until if condition.is_above else value >= condition.until
        found.append(_observation(rule, key, value, holds, is_over, limit=condition.limit))
    return tuple(found)


def _absence(
    rule: Rule, condition: Absence, answer: Answer, now_s: float, notes: Sequence[Annotation], up_s: float
) -> tuple[Observation, ...]:
    if up_s < 2 * condition.signal.window_s:  # nobody could have told us
        return ()
    found = []
    for track in answer.tracks:
        seen = np.flatnonzero(~np.isnan(track.values))
        if not seen.size:
            continue
        key = tuple(track.labels.get(label, "") for label in rule.by)
        last_s = answer.begin_s + (int(seen[-1]) + 1) * answer.step_s
        age_s = max(0.0, now_s - last_s)
        resource = Template(condition.resource).safe_substitute(dict(zip(rule.by, key, strict=True)))
        since_s = last_s - 2 * answer.step_s
        excused = any(
            note.resource == resource and note.kind in condition.unless and note.time_s >= since_s
            for note in notes
        )
        holds = age_s > 0 and not excused
        found.append(_observation(rule, key, age_s, holds, not holds, shows=Shows.SECONDS))
    return tuple(found)


def _burn_rate(rule: Rule, condition: BurnRate, answers: Sequence[Answer]) -> tuple[Observation, ...]:
    spans = _spans(condition)
    bad = {span_s: _last(rule, answers[2 * place]) for place, span_s in enumerate(spans)}
    every = {span_s: _last(rule, answers[2 * place + 1]) for place, span_s in enumerate(spans)}

    def burn(key: Labels, span_s: float) -> float:
        total = every[span_s].get(key, math.nan)
        if not total >= condition.count_min:
            return math.nan
        failed = bad[span_s].get(key, 0.0)
        return (0.0 if math.isnan(failed) else failed) / total / (1 - condition.objective)

    def both(key: Labels, window: BurnWindow) -> float:
        """How many times faster than the window allows, in that of the two spans where it is slower."""
        over_long, over_short = burn(key, window.long_s), burn(key, window.short_s)
        if math.isnan(over_long):
            return math.nan
        return min(over_long, 0.0 if math.isnan(over_short) else over_short) / window.factor

    found = []
    for key in sorted({key for values in every.values() for key in values}):
        ratios = [(both(key, window), window) for window in condition.windows]
        known = [(ratio, window) for ratio, window in ratios if not math.isnan(ratio)]
        if not known:
            continue
        worst, window = max(known, key=lambda each: each[0])
        holds = worst > 1
        found.append(
            _observation(
                rule,
                key,
                worst * window.factor,
                holds,
                not holds,
                shows=Shows.TIMES,
                span=words.span(window.long_s),
            )
        )
    return tuple(found)


def _trend(rule: Rule, condition: Trend, answers: Sequence[Answer]) -> tuple[Observation, ...]:
    values = _tracks(rule, answers[0])
    if condition.divisor is not None:
        divisors = _tracks(rule, answers[1])
        with np.errstate(divide="ignore", invalid="ignore"):
            values = {key: line / divisors[key] for key, line in values.items() if key in divisors}
    found = []
    for key, line in values.items():
        known = np.flatnonzero(np.isfinite(line))
        if known.size < TREND_STEPS_MIN:
            continue
        now = float(np.median(line[known[-3:]]))
        slope = _slope(known * answers[0].step_s, line[known])
        left_s = 0.0 if now >= condition.limit else (condition.limit - now) / slope if slope > 0 else math.inf
        holds = now >= condition.at_least and left_s <= condition.within_s
        is_over = now < condition.at_least or left_s > TREND_KEEPS * condition.within_s
        found.append(_observation(rule, key, now, holds, is_over, limit=condition.limit, left=_left(left_s)))
    return tuple(found)


def _shortage(
    rule: Rule, condition: CapacityForecast, shortages: Sequence[Shortage], now_s: float
) -> tuple[Observation, ...]:
    found = []
    for each in shortages:
        left_s = max(0.0, each.exceeded_s - now_s)
        holds = left_s <= condition.within_s
        is_over = left_s > TREND_KEEPS * condition.within_s
        key = tuple(each.model if label == "model" else "" for label in rule.by)
        found.append(_observation(rule, key, each.peak_demand, holds, is_over, left=_left(left_s)))
    return tuple(found)


def _observation(
    rule: Rule,
    key: Labels,
    value: float,
    holds: bool,
    is_over: bool,
    *,
    shows: Shows | None = None,
    **more: object,
) -> Observation:
    labels = dict(zip(rule.by, key, strict=True))
    said: dict[str, object] = {**labels, **more, "value": words.figure(value, shows or rule.shows)}
    if isinstance(limit := more.get("limit"), float):
        said["limit"] = words.figure(limit, shows or rule.shows)
    text = Template(rule.text).safe_substitute(said)
    return Observation(labels=labels, value=value, holds=holds, is_over=is_over, text=text)


def _left(left_s: float) -> str:
    return "now" if left_s < 60 else f"in {words.rough_span(left_s)}" if math.isfinite(left_s) else "never"


def _spans(condition: BurnRate) -> list[float]:
    return sorted({span_s for each in condition.windows for span_s in (each.long_s, each.short_s)})


def _slope(times_s: np.ndarray, values: np.ndarray) -> float:
    """The median of the slopes of all pairs (Theil and Sen): one jump does not make a trend."""
    first, second = np.triu_indices(len(values), 1)
    return float(np.median((values[second] - values[first]) / (times_s[second] - times_s[first])))


def _tracks(rule: Rule, answer: Answer) -> dict[Labels, np.ndarray]:
    return {tuple(track.labels.get(label, "") for label in rule.by): track.values for track in answer.tracks}


def _last(rule: Rule, answer: Answer) -> dict[Labels, float]:
    return {
        key: float(values[-1]) if len(values) else math.nan for key, values in _tracks(rule, answer).items()
    }


def _divided(values: Mapping[Labels, float], divisors: Mapping[Labels, float]) -> dict[Labels, float]:
    return {key: value / divisors[key] if divisors.get(key) else math.nan for key, value in values.items()}

"""Rules as documents: what stands in a rules file, checked before anything is measured by it."""

from __future__ import annotations

import re
from collections.abc import Callable
from string import Template

from servemesh import names
from servemesh.metrics.domain.alerting.fields import Fields
from servemesh.metrics.domain.alerting.rules import (
    Absence,
    BurnRate,
    BurnWindow,
    CapacityForecast,
    Condition,
    Rule,
    Severity,
    Shows,
    Signal,
    Threshold,
    Trend,
)
from servemesh.metrics.domain.queries import Measure

RULES_MAX = 200
_RUNBOOK = re.compile(r"[a-z][a-z0-9-]{0,62}\.md")
_SAID = {"value", "limit", "left", "span"}


def parse_rules(file: str, document: object) -> dict[str, Rule | None]:
    """Return the rules of a file, by id; None for one that is switched off. InvalidError names what is wrong.

    The document has `rules`, a list; docs/metrics.md says what a rule has.
    """
    top = Fields.of(document, file=file)
    found: dict[str, Rule | None] = {}
    for fields in top.items("rules", most=RULES_MAX):
        rule_id = fields.text("rule")
        if not names.is_id(rule_id):
            raise fields.wrong("rule", names.ID_PATTERN, rule_id)
        fields.rule, fields.path = rule_id, ""
        if rule_id in found:
            raise fields.wrong("rule", "an id that no other rule of the file has", rule_id)
        if fields.flag("enabled", default=True):
            found[rule_id] = _rule(rule_id, fields)
        else:
            found[rule_id] = None
    top.end()
    return found


def _rule(rule_id: str, fields: Fields) -> Rule:
    by = fields.labels("by", default=())
    rule = Rule(
        rule_id=rule_id,
        summary=fields.text("summary"),
        text=_text(fields, by),
        severity=fields.choice("severity", Severity),
        runbook=_runbook(fields),
        by=by,
        group_by=fields.labels("group_by", default=()),
        condition=_condition(fields, by),
        for_s=fields.span_s("for", default_s=0.0),
        keep_s=fields.span_s("keep", default_s=300.0),
        forget_s=fields.span_s("forget", default_s=900.0, least_s=1.0),
        shows=fields.choice("shows", Shows, default=Shows.NUMBER),
    )
    if strange := set(rule.group_by) - set(by):
        raise fields.wrong("group_by", f"labels of by: {', '.join(by) or 'none'}", min(strange))
    fields.end()
    return rule


def _text(fields: Fields, by: tuple[str, ...]) -> str:
    text = fields.text("text")
    template = Template(text)
    known = _SAID | set(by)
    if not template.is_valid() or set(template.get_identifiers()) - known:
        raise fields.wrong(
            "text", f"a text with none but {', '.join(f'${name}' for name in sorted(known))}", text
        )
    return text


def _runbook(fields: Fields) -> str:
    runbook = fields.text("runbook")
    if not _RUNBOOK.fullmatch(runbook):
        raise fields.wrong("runbook", "a page of docs/runbooks/, such as worker-lost.md", runbook)
    return runbook


def _condition(fields: Fields, by: tuple[str, ...]) -> Condition:
    kinds: dict[str, Callable[[Fields, tuple[str, ...]], Condition]] = {
        "threshold": _threshold,
        "absence": _absence,
        "burn_rate": _burn_rate,
        "forecast": _forecast,
    }
    kind = fields.text("kind")
    if kind not in kinds:
        raise fields.wrong("kind", f"one of {', '.join(kinds)}", kind)
    return kinds[kind](fields, by)


def _threshold(fields: Fields, by: tuple[str, ...]) -> Threshold:
    is_above = fields.has("above")
    if is_above == fields.has("below"):
        raise fields.wrong("above", "above or below, one of them", "both" if is_above else "none")
    limit = fields.number("above" if is_above else "below")
    until = fields.number("until", default=limit)
    if (until > limit) if is_above else (until < limit):
        raise fields.wrong("until", f"at {'most' if is_above else 'least'} {limit:g}: the way back", until)
    return Threshold(
        signal=_signal(fields.inner("signal")),
        divisor=_signal(fields.inner("divisor")) if fields.has("divisor") else None,
        is_above=is_above,
        limit=limit,
        until=until,
        count=_signal(fields.inner("count")) if fields.has("count") else None,
        count_min=fields.number("count_min", default=0.0, least=0.0),
    )


def _absence(fields: Fields, by: tuple[str, ...]) -> Absence:
    signal = _signal(fields.inner("signal"))
    resource = fields.text("resource", default="-")
    return Absence(
        signal=signal,
        lookback_s=fields.span_s("lookback", least_s=2 * signal.window_s),
        resource=resource,
        unless=fields.words("unless", default=()),
    )


def _burn_rate(fields: Fields, by: tuple[str, ...]) -> BurnRate:
    objective = fields.number("objective")
    if not 0 < objective < 1:
        raise fields.wrong("objective", "a share between 0 and 1, such as 0.999", objective)
    return BurnRate(
        bad=_signal(fields.inner("bad"), has_window=False),
        all=_signal(fields.inner("all"), has_window=False),
        objective=objective,
        windows=tuple(_window(each) for each in fields.items("windows", most=4)),
        count_min=fields.number("count_min", default=1.0, least=1.0),
    )


def _window(fields: Fields) -> BurnWindow:
    short_s = fields.span_s("short", least_s=1.0)
    window = BurnWindow(
        long_s=fields.span_s("long", least_s=short_s),
        short_s=short_s,
        factor=fields.number("factor", least=1.0),
    )
    fields.end()
    return window


def _forecast(fields: Fields, by: tuple[str, ...]) -> Trend | CapacityForecast:
    within_s = fields.span_s("within", least_s=60.0)
    if not fields.has("signal"):
        if by != ("model",):
            raise fields.wrong("by", "[model], for the forecast of capacity", list(by))
        return CapacityForecast(within_s=within_s)
    signal = _signal(fields.inner("signal"), has_window=False)
    return Trend(
        signal=signal,
        divisor=_signal(fields.inner("divisor"), has_window=False) if fields.has("divisor") else None,
        history_s=fields.span_s("history", least_s=60.0),
        limit=fields.number("reaches"),
        at_least=fields.number("at_least", default=0.0),
        within_s=within_s,
    )


def _signal(fields: Fields, *, has_window: bool = True) -> Signal:
    measure = fields.choice("measure", Measure)
    quantile = fields.number("quantile", default=0.5) if measure is Measure.QUANTILE else 0.5
    if not 0 <= quantile <= 1:
        raise fields.wrong("quantile", "a share from 0 to 1", quantile)
    signal = Signal(
        metric=fields.metric("metric"),
        measure=measure,
        window_s=fields.span_s("window", least_s=1.0) if has_window else 0.0,
        quantile=quantile,
        where=fields.where("where"),
    )
    fields.end()
    return signal

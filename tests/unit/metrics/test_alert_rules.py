"""Rules: those that ship are right, and what is wrong in a file is named with its file, rule and field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from servemesh.errors import InvalidError
from servemesh.metrics.adapters.rule_files import load_rules
from servemesh.metrics.domain.alerting import words
from servemesh.metrics.domain.alerting.judging import questions
from servemesh.metrics.domain.alerting.rule_parsing import parse_rules
from servemesh.metrics.domain.alerting.rules import Rule
from servemesh.observe import names as telemetry

ROOT = Path(__file__).parents[3]
SHIPPED = load_rules(None)
KNOWN = {value.name for value in vars(telemetry).values() if isinstance(value, telemetry.Metric)}


def a_document(**changes: Any) -> dict[str, Any]:
    """Return a rules document with one rule."""
    rule = {
        "rule": "hot",
        "summary": "It is hot.",
        "text": "$model is at $value",
        "severity": "warning",
        "runbook": "model-p99-high.md",
        "kind": "threshold",
        "by": ["model"],
        "signal": {"metric": "servemesh.worker.calls", "measure": "rate", "window": "1m"},
        "above": 1,
    }
    rule |= changes
    return {"rules": [{name: value for name, value in rule.items() if value is not None}]}


@pytest.mark.parametrize("rule", SHIPPED.values(), ids=SHIPPED.keys())
def test_a_shipped_rule_leads_to_a_runbook_that_exists_and_is_about_it(rule: Rule):
    page = ROOT / "docs" / "runbooks" / rule.runbook
    assert page.is_file()
    assert f"`{rule.rule_id}`" in page.read_text()


@pytest.mark.parametrize("rule", SHIPPED.values(), ids=SHIPPED.keys())
def test_a_shipped_rule_asks_only_for_metrics_that_there_are(rule: Rule):
    asked = {query.metric for query in questions(rule, 1_000_000.0)}
    assert {metric for metric in asked if not metric.startswith("envoy.")} <= KNOWN


@pytest.mark.parametrize("rule", SHIPPED.values(), ids=SHIPPED.keys())
def test_a_shipped_rule_can_be_read_in_a_line(rule: Rule):
    assert 10 < len(words.condition(rule)) < 200


def test_every_runbook_belongs_to_a_rule():
    pages = {page.name for page in (ROOT / "docs" / "runbooks").glob("*.md")} - {"README.md"}
    assert pages == {rule.runbook for rule in SHIPPED.values()}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"severity": "awful"}, "severity"),
        ({"kind": "feeling"}, "kind"),
        ({"above": "much"}, "above"),
        ({"above": None}, "above"),
        ({"below": 1}, "above"),
        ({"until": 2}, "until"),
        ({"for": "5 minutes"}, "for"),
        ({"for": 300}, "for"),
        ({"colour": "red"}, "colour"),
        ({"by": "model"}, "by"),
        ({"group_by": ["worker"]}, "group_by"),
        ({"text": "$payload"}, "text"),
        ({"text": "costs 5 $"}, "text"),
        ({"runbook": "../../etc/passwd"}, "runbook"),
        ({"rule": "Hot!"}, "rules[0].rule"),
        ({"summary": ""}, "summary"),
        ({"signal": {"metric": "x y", "measure": "rate", "window": "1m"}}, "signal.metric"),
        ({"signal": {"metric": "x", "measure": "guess", "window": "1m"}}, "signal.measure"),
        ({"signal": {"metric": "x", "measure": "rate", "window": "0s"}}, "signal.window"),
        ({"signal": {"metric": "x", "measure": "rate", "window": "1m", "quantile": 1}}, "signal.quantile"),
        (
            {"signal": {"metric": "x", "measure": "rate", "window": "1m", "where": {"a": "b"}}},
            "signal.where.a",
        ),
        ({"signal": ["x"]}, "signal"),
    ],
)
def test_what_is_wrong_is_named_with_file_rule_and_field(changes: dict[str, Any], field: str):
    with pytest.raises(InvalidError) as caught:
        parse_rules("own.yaml", a_document(**changes))
    assert caught.value.reason == "RULE_MALFORMED"
    assert caught.value.metadata["file"] == "own.yaml"
    assert caught.value.metadata["field"] == field
    assert caught.value.metadata["rule"] == ("" if "rule" in changes else "hot")


def test_a_budget_needs_an_objective_between_0_and_1_and_windows():
    signal = {"metric": "x", "measure": "increase"}
    budget = {
        "kind": "burn_rate",
        "signal": None,
        "above": None,
        "bad": signal,
        "all": signal,
        "objective": 99.9,
    }
    with pytest.raises(InvalidError, match="objective"):
        parse_rules("own.yaml", a_document(**budget, windows=[{"long": "1h", "short": "5m", "factor": 14.4}]))
    budget["objective"] = 0.999
    with pytest.raises(InvalidError, match=r"windows\[0\].long"):
        parse_rules("own.yaml", a_document(**budget, windows=[{"long": "1m", "short": "5m", "factor": 14.4}]))


def test_a_rule_of_ones_own_takes_the_place_of_a_shipped_one_and_may_take_it_away(tmp_path: Path):
    own = [
        a_document(rule="model_p99_high", above=7, shows="seconds")["rules"][0],
        {"rule": "disk_full", "enabled": False},
    ]
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"rules": own}))
    rules = load_rules(tmp_path)
    assert "> 7 s" in words.condition(rules["model_p99_high"])
    assert SHIPPED.keys() - rules.keys() == {"disk_full"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("rules: [", "is not YAML, line"),
        ("a: &a [1]\nb: *a\n", "YAML alias"),
        ("rules: !!python/object/apply:os.system [id]", "is not YAML"),
        ("x" * 300_000, "larger than"),
        ("[]", "expected names with values"),
    ],
)
def test_a_file_that_is_no_rules_file_is_refused_by_name(text: str, problem: str, tmp_path: Path):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(InvalidError, match=r"bad\.yaml") as caught:
        load_rules(tmp_path)
    assert problem in caught.value.message


def test_two_rules_of_one_id_are_refused(tmp_path: Path):
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(yaml.safe_dump(a_document()))
    with pytest.raises(InvalidError, match=r"b\.yaml, rule 'hot'"):
        load_rules(tmp_path)

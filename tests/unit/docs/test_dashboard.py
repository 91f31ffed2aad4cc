"""The Grafana dashboard asks for metrics and labels that the mesh has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from servemesh.metrics.adapters.prometheus_page import name_of
from servemesh.metrics.domain.queries import Kind
from servemesh.observe import names
from servemesh.observe.otlp_metrics import UNITS

ROOT = Path(__file__).parents[3]
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "servemesh.json").read_text())
DOC = (ROOT / "docs" / "observability.md").read_text()
WORD = re.compile(r"\b(?:servemesh|envoy)_\w+")
ALWAYS = {"service", "instance", "le"}


def shown() -> dict[str, set[str]]:
    """Return the names on the page of the mesh, with their labels."""
    found: dict[str, set[str]] = {}
    for metric in vars(names).values():
        if not isinstance(metric, names.Metric):
            continue
        name = metric.name if metric.name.startswith("envoy.") else metric.name.replace(".", "_")
        row = re.search(rf"^\| `{re.escape(name)}(?:_{metric.unit})?` \| (\w+)", DOC, re.M)
        if row is None:
            continue
        kind = {"counter": Kind.COUNTER, "histogram": Kind.HISTOGRAM}.get(row[1], Kind.GAUGE)
        page_name = name_of(metric.name, UNITS.get(metric.unit, metric.unit), kind)
        parts = ("_bucket", "_sum", "_count") if kind is Kind.HISTOGRAM else ("",)
        found |= {page_name + part: {*metric.labels, *ALWAYS} for part in parts}
    return found


def expressions() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        query: Any = variable["query"]
        if isinstance(query, dict):
            yield query["query"]


def test_it_asks_only_for_metrics_that_there_are():
    asked = {word for expression in expressions() for word in WORD.findall(expression)}
    assert len(asked) > 20
    assert asked <= shown().keys()


def test_it_groups_and_filters_only_by_labels_that_they_have():
    metrics = shown()
    for expression in expressions():
        labels = {
            label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")
        }
        labels |= set(re.findall(r"(\w+)=~?\"", expression))
        for name in WORD.findall(expression):
            assert labels <= metrics[name], expression


def test_every_panel_has_a_place_and_a_number_of_its_own():
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)

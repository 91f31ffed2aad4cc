"""Every name that leaves a process is in observe/names.py, and docs/observability.md explains every one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from servemesh.observe import names
from servemesh.observe.names import Metric

ROOT = Path(__file__).parents[3]
DOC = ROOT / "docs" / "observability.md"
LOG_METHODS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
METRIC_METHODS = {"counter", "gauge", "histogram", "counted", "gauged", "distributed"}
METRICS = [value for value in vars(names).values() if isinstance(value, Metric)]
TEXTS = {key: value for key, value in vars(names).items() if key.isupper() and isinstance(value, str)}


def exposed(metric: Metric) -> str:
    if metric.name.startswith("envoy."):  # on no page of ours
        return metric.name
    return metric.name.replace(".", "_") + (f"_{metric.unit}" if metric.unit else "")


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for root in ("libs", "services"):
        for path in sorted((ROOT / root / "servemesh").rglob("*.py")):
            yield path.relative_to(ROOT), ast.parse(path.read_text())


def calls(tree: ast.Module) -> Iterator[tuple[ast.Call, str, str]]:
    """Yield every call of a method, with the name of what it is called on and its own."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            on = node.func.value
            yield node, on.id if isinstance(on, ast.Name) else "", node.func.attr


def comes_from_names(argument: ast.expr) -> bool:
    if isinstance(argument, ast.IfExp):
        return comes_from_names(argument.body) and comes_from_names(argument.orelse)
    if isinstance(argument, ast.Name):  # chosen before; a text of its own would be a constant
        return True
    return (
        isinstance(argument, ast.Attribute)
        and isinstance(argument.value, ast.Name)
        and argument.value.id in ("names", "telemetry", "event_names")
    )


def test_no_log_event_is_named_anywhere_else():
    for path, tree in sources():
        for call, on, method in calls(tree):
            if on in ("log", "_log", "logger", "_logger") and method in LOG_METHODS:
                assert comes_from_names(call.args[0]), f"{path}:{call.lineno}"


def test_no_span_and_no_metric_is_named_anywhere_else():
    for path, tree in sources():
        if path.parts[:3] == ("libs", "servemesh", "observe"):
            continue
        for call, on, method in calls(tree):
            makes_span = (on, method) in {("traces", "span"), ("traces", "past")}
            if makes_span or (on == "metrics" and method in METRIC_METHODS):
                assert comes_from_names(call.args[0]), f"{path}:{call.lineno}"


def test_only_observe_makes_metrics():
    for path, tree in sources():
        if path.parts[:3] == ("libs", "servemesh", "observe"):
            continue
        for node in ast.walk(tree):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(module.startswith("prometheus_client") for module in modules), path


def test_every_name_stands_once():
    for values in ([metric.name for metric in METRICS], list(TEXTS.values())):
        assert len(set(values)) == len(values)


def test_metrics_are_documented_with_their_labels_and_nothing_else_is():
    row = r"^\| `((?:servemesh|nv)_\w+|envoy\.[\w.]+)` \| (.*?) \| (.*?) \| (.*?) \|$"
    rows = re.findall(row, DOC.read_text(), re.M)
    documented = {name: set(re.findall(r"`(\w+)`", labels)) for name, _, labels, _ in rows}
    assert len(documented) == len(rows), "a metric is documented twice"
    assert documented == {exposed(metric): set(metric.labels) for metric in METRICS}
    assert all(meaning for *_, meaning in rows)


def test_spans_and_log_events_are_documented_and_nothing_else_is():
    text = DOC.read_text()
    spans = {value for key, value in TEXTS.items() if key.startswith("SPAN_")}
    events = set(TEXTS.values()) - spans - {names.SECONDS, names.BYTES, names.WATTS, names.CELSIUS}
    assert set(re.findall(r"^\| span `([\w.]+)` \|", text, re.M)) == spans
    assert set(re.findall(r"^\| event `([\w.]+)` \|", text, re.M)) == events

"""A Prometheus page held to every rule that a strict reader holds it to."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

_SAMPLE = re.compile(
    r'[a-zA-Z_:][a-zA-Z0-9_:]*(\{[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\n"])*"(?:,[^{}]*)?.*\})? \S+'
)
_PARTS = ("_bucket", "_sum", "_count")
Labels = tuple[tuple[str, str], ...]


def read(address: str, path: str = "/metrics") -> str:
    """Return the page at host:port."""
    with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return str(answer.read().decode())


def families(text: str) -> dict[str, Metric]:
    """Return the families of a page that keeps every rule; AssertionError if it breaks one.

    Two of Envoy's that differ in "_total" only share a name here, as the parser gives them.
    """
    assert text.endswith("\n")
    _check_order(text)
    parsed = list(text_string_to_metric_families(text))
    found = {family.name: family for family in parsed}
    for family in parsed:
        keys = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in family.samples]
        assert len(set(keys)) == len(keys), f"{family.name} has a series twice"
        assert all("process" in sample.labels for sample in family.samples), family.name
        if family.type == "histogram":
            _check_histogram(family)
        if family.type == "counter":
            assert all(sample.value >= 0 for sample in family.samples), family.name
    return found


def _check_order(text: str) -> None:
    """Every sample stands under the header of its family, and each header stands once."""
    seen: set[str] = set()
    current, kind = "", ""
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, current, kind = line.split(" ")
            assert current not in seen, f"{current} is described twice"
            seen.add(current)
        elif not line.startswith("#"):
            assert _SAMPLE.fullmatch(line), line
            name = re.split(r"[{ ]", line, maxsplit=1)[0]
            allowed = {current, *(current + part for part in _PARTS)} if kind == "histogram" else {current}
            if kind == "summary":
                allowed |= {current + "_sum", current + "_count"}
            assert name in allowed, f"{name} stands under {current}"


def _check_histogram(family: Metric) -> None:
    for labels, buckets in _by_labels(family, "_bucket"):
        ends = [float(end) for end, _ in buckets]
        counts = [count for _, count in buckets]
        assert ends == sorted(ends), f"{family.name}{labels}: buckets out of order"
        assert ends[-1] == float("inf"), f"{family.name}{labels}: no last bucket"
        assert counts == sorted(counts), f"{family.name}{labels}: counts fall"
        total = [
            sample.value
            for sample in family.samples
            if sample.name == family.name + "_count" and tuple(sorted(sample.labels.items())) == labels
        ]
        assert total == [counts[-1]], f"{family.name}{labels}: count is not that of the last bucket"


def _by_labels(family: Metric, part: str) -> Iterator[tuple[Labels, list[tuple[str, float]]]]:
    groups: dict[Labels, list[tuple[str, float]]] = {}
    for sample in family.samples:
        if sample.name == family.name + part:
            labels = dict(sample.labels)
            end = labels.pop("le")
            groups.setdefault(tuple(sorted(labels.items())), []).append((end, sample.value))
    yield from groups.items()

"""Reads the fields of a document strictly: what is wrong is named with its file, rule and field."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from servemesh.errors import InvalidError

Choice = TypeVar("Choice", bound=StrEnum)

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_LABEL = re.compile(r"[a-z][a-z0-9_.]{0,62}")
_METRIC = re.compile(r"[a-zA-Z][a-zA-Z0-9_./-]{0,254}")
SPAN_S_MAX = 400 * 86_400.0
CHARS_MAX = 300
_NONE = object()


@dataclass(slots=True)
class Fields:
    """The fields of one mapping. Each is read once; `end` refuses those that nobody asked for."""

    file: str
    rule: str
    path: str
    values: Mapping[str, Any]
    known: set[str]

    @classmethod
    def of(cls, document: object, *, file: str, rule: str = "", path: str = "") -> Fields:
        """Return the fields of a document that must be a mapping."""
        if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
            raise wrong(file, rule, path or "rule", "names with values", document)
        return cls(file, rule, path, document, set())

    def has(self, name: str) -> bool:
        """Whether there is such a field."""
        self.known.add(name)
        return name in self.values

    def end(self) -> None:
        """InvalidError for a field that is not known."""
        if unknown := sorted(set(self.values) - self.known):
            raise self.wrong(unknown[0], f"one of {', '.join(sorted(self.known))}", unknown[0])

    def inner(self, name: str) -> Fields:
        """The fields of a mapping within."""
        return Fields.of(self._get(name), file=self.file, rule=self.rule, path=self._path(name))

    def items(self, name: str, *, most: int) -> list[Fields]:
        """The mappings of a list within, at least one."""
        found = self._get(name)
        if not isinstance(found, list) or not 0 < len(found) <= most:
            raise self.wrong(name, f"a list of 1 to {most}", found)
        return [
            Fields.of(item, file=self.file, rule=self.rule, path=f"{self._path(name)}[{place}]")
            for place, item in enumerate(found)
        ]

    def text(self, name: str, *, default: str | None = None) -> str:
        """A sentence."""
        found = self._get(name, default)
        if not isinstance(found, str) or not 0 < len(found.strip()) <= CHARS_MAX:
            raise self.wrong(name, f"a text of at most {CHARS_MAX} characters", found)
        return " ".join(found.split())

    def number(self, name: str, *, default: float | None = None, least: float = -math.inf) -> float:
        """A finite number."""
        found = self._get(name, default)
        if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
            raise self.wrong(name, "a number", found)
        if found < least:
            raise self.wrong(name, f"a number of at least {least:g}", found)
        return float(found)

    def flag(self, name: str, *, default: bool) -> bool:
        """True or false."""
        found = self._get(name, default)
        if not isinstance(found, bool):
            raise self.wrong(name, "true or false", found)
        return found

    def span_s(self, name: str, *, default_s: float | None = None, least_s: float = 0.0) -> float:
        """A span such as 90s, 5m, 1h or 3d; 0s where that makes sense."""
        found = self._get(name, default_s)
        if default_s is not None and name not in self.values:
            return default_s
        parsed = _SPAN.fullmatch(found) if isinstance(found, str) else None
        span_s = float(parsed[1]) * _SECONDS[parsed[2]] if parsed else -1.0
        if not least_s <= span_s <= SPAN_S_MAX:
            raise self.wrong(name, f"a span such as 90s, 5m, 1h or 3d, {least_s:g} s or more", found)
        return span_s

    def choice(self, name: str, kind: type[Choice], *, default: Choice | None = None) -> Choice:
        """One of a few words."""
        found = self._get(name, default)
        if found not in [each.value for each in kind]:
            raise self.wrong(name, f"one of {', '.join(kind)}", found)
        return kind(found)

    def metric(self, name: str) -> str:
        """The name of a metric."""
        found = self._get(name)
        if not isinstance(found, str) or not _METRIC.fullmatch(found):
            raise self.wrong(name, "the name of a metric, such as servemesh.worker.calls", found)
        return found

    def labels(self, name: str, *, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """A list of labels."""
        found = self._get(name, list(default) if default is not None else None)
        if not isinstance(found, list) or len(found) > 8 or not all(_is_label(each) for each in found):
            raise self.wrong(name, "a list of at most 8 labels", found)
        return tuple(found)

    def words(self, name: str, *, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """A list of texts."""
        found = self._get(name, list(default) if default is not None else None)
        if not isinstance(found, list) or len(found) > 32 or not all(isinstance(each, str) for each in found):
            raise self.wrong(name, "a list of at most 32 texts", found)
        return tuple(found)

    def where(self, name: str) -> dict[str, tuple[str, ...]]:
        """Labels, each with the values that are looked at; none if it is left out."""
        if not self.has(name):
            return {}
        inner = self.inner(name)
        for label in inner.values:
            if not _is_label(label):
                raise inner.wrong(label, "a label", label)
        return {label: inner.words(label) for label in inner.values}

    def wrong(self, name: str, expected: str, got: object) -> InvalidError:
        """Return the error about a field."""
        return wrong(self.file, self.rule, self._path(name), expected, got)

    def _path(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def _get(self, name: str, default: object = None) -> Any:
        self.known.add(name)
        found = self.values.get(name, _NONE)
        if found is _NONE:
            if default is None:
                raise self.wrong(name, "a value", "nothing")
            return default
        return found


def wrong(file: str, rule: str, field: str, expected: str, got: object) -> InvalidError:
    """Return the error about one field of one rule of one file."""
    at = f"rules file {file[:200]}" + (f", rule {rule[:100]!r}" if rule else "")
    return InvalidError(
        f"{at}: {field[:200]} is {str(got)[:200]!r}, expected {expected}",
        reason="RULE_MALFORMED",
        file=file[:200],
        rule=rule[:100],
        field=field[:200],
        expected=expected,
        got=str(got)[:200],
    )


def _is_label(text: object) -> bool:
    return isinstance(text, str) and _LABEL.fullmatch(text) is not None

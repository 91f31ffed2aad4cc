"""Merges Prometheus texts of several processes into one, each sample labelled with its process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_SUFFIXES = ("_bucket", "_count", "_sum", "_total", "_created")


@dataclass(slots=True)
class _Family:
    kind: str = "untyped"
    help: str = ""
    samples: list[str] = field(default_factory=list)


def merged(texts: Mapping[str, str]) -> str:
    """Return one text in which each family stands once and each sample carries `process`.

    The first process that describes a family decides on its type and its help; samples of a process that
    gives it another type are left out, because one family has one type.
    """
    families: dict[str, _Family] = {}
    for process, text in texts.items():
        for name, found in _families(text).items():
            family = families.setdefault(name, _Family(found.kind, found.help))
            if family.kind == found.kind:
                family.samples.extend(_labelled(sample, process) for sample in found.samples)
    return "".join(_rendered(families))


def _families(text: str) -> dict[str, _Family]:
    families: dict[str, _Family] = {}
    current = ""
    for line in text.splitlines():
        if line.startswith(("# TYPE ", "# HELP ")):
            _, word, name, *rest = line.split(" ", 3)
            current = name
            family = families.setdefault(name, _Family())
            value = rest[0] if rest else ""
            if word == "TYPE":
                family.kind = value.strip()
            else:
                family.help = value
        elif line and not line.startswith("#"):
            name = _metric_name(line)
            if not _belongs(name, current):
                current = name
            families.setdefault(current, _Family()).samples.append(line)
    return families


def _metric_name(sample: str) -> str:
    return sample.split("{", 1)[0].split(" ", 1)[0]


def _belongs(name: str, family: str) -> bool:
    return name == family or (name.startswith(family) and name[len(family) :] in _SUFFIXES)


def _labelled(sample: str, process: str) -> str:
    name = _metric_name(sample)
    rest = sample[len(name) :]
    label = f'process="{process}"'
    if not rest.startswith("{"):
        return f"{name}{{{label}}}{rest}"
    if rest.startswith("{}"):
        return f"{name}{{{label}}}{rest[2:]}"
    if '{process="' in rest or ',process="' in rest:
        return sample
    return f"{name}{{{label},{rest[1:]}"


def _rendered(families: Mapping[str, _Family]) -> Iterable[str]:
    for name, family in families.items():
        if not family.samples:
            continue
        if family.help:
            yield f"# HELP {name} {family.help}\n"
        yield f"# TYPE {name} {family.kind}\n"
        for sample in family.samples:
            yield f"{sample}\n"

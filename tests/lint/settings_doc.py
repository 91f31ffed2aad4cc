"""Writes docs/settings.md from the settings classes: `python -m tests.lint.settings_doc --write`."""

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

import servemesh.cli.settings
import servemesh.gateway.rest.settings
import servemesh.gateway.settings
import servemesh.local.settings
import servemesh.metrics.console.settings
import servemesh.metrics.settings
import servemesh.optimizer.settings
import servemesh.registry.settings
import servemesh.worker.settings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
INTRODUCTION = """\
# Settings

Every process is set by its environment and by nothing else; a value that is wrong ends it at once with status 64 and
one line that names the variable. Sizes are in bytes and times in seconds. Reaching a bound is an
[error](errors.md) with a reason, never silence.

Under `servemesh up` the variables of all services can be set for the mesh as a whole: what the local mesh does not set
itself (addresses, folders, instances, keys) reaches its processes.

This page is written by `python -m tests.lint.settings_doc --write` from the settings classes.
"""
SECTIONS: Sequence[tuple[str, str, type[BaseSettings]]] = (
    ("Command line", "Defaults of the options of `servemesh`.", servemesh.cli.settings.Settings),
    ("Local mesh", "The supervisor behind `servemesh up`.", servemesh.local.settings.Settings),
    (
        "Gateway",
        "The gateway service, and Envoy by what it is told.",
        servemesh.gateway.settings.Settings,
    ),
    (
        "REST front",
        "The Open Inference Protocol over HTTP, in a process of its own beside the gateway service.",
        servemesh.gateway.rest.settings.Settings,
    ),
    ("Registry", "Models, Deployments, placement and uploads.", servemesh.registry.settings.Settings),
    (
        "Optimizer",
        "Sources, Datasets and jobs: conversions, optimizations and evaluations.",
        servemesh.optimizer.settings.Settings,
    ),
    (
        "Metrics service",
        "What comes in, the store, and what is concluded from it.",
        servemesh.metrics.settings.Settings,
    ),
    (
        "Console",
        "What browsers are shown, in a process of its own.",
        servemesh.metrics.console.settings.Settings,
    ),
    ("Worker", "The process that runs models.", servemesh.worker.settings.Settings),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One line of a table."""

    variables: tuple[str, ...]
    default: str
    range: str
    meaning: str


def settings_of(kind: type[BaseSettings]) -> Iterator[Setting]:
    """Everything that can be set of one class, in the order of its source."""
    meanings = _meanings(kind)
    prefix = kind.model_config.get("env_prefix", "")
    for name, field in kind.model_fields.items():
        yield Setting(
            variables=_variables(prefix, name, field),
            default=_default(field),
            range=_range(field),
            meaning=meanings.get(name, ""),
        )


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for title, text, kind in SECTIONS:
        parts.append(
            f"\n## {title}\n\n{text}\n\n| variable | default | range | meaning |\n|---|---|---|---|\n"
        )
        for setting in settings_of(kind):
            names = "<br>or ".join(f"`{variable}`" for variable in setting.variables)
            parts.append(f"| {names} | {setting.default} | {setting.range} | {setting.meaning} |\n")
    return "".join(parts)


def _variables(prefix: str, name: str, field: FieldInfo) -> tuple[str, ...]:
    if isinstance(field.validation_alias, AliasChoices):
        return tuple(str(choice) for choice in field.validation_alias.choices)
    return (f"{prefix}{name}".upper(),)


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.default_factory is not None:
        return "`$XDG_DATA_HOME/servemesh`, `~/.local/share/servemesh`"
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, tuple):
        value = ",".join(value)
    if isinstance(value, bool):
        value = str(value).lower()
    if isinstance(value, int | float):
        value = f"{value:_}" if abs(value) >= 10_000 else f"{value:.10g}"
    return f"`{value}`" if value not in ("", None) else "none"


def _range(field: FieldInfo) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    bounds = []
    for constraint in field.metadata:
        for attribute, sign in signs.items():
            bound = getattr(constraint, attribute, None)
            if bound is not None:
                bounds.append(f"{sign} {bound:_}")
    literals = getattr(field.annotation, "__args__", ())
    if not bounds and literals and all(isinstance(literal, str) for literal in literals):
        return ", ".join(f"`{literal}`" for literal in literals)
    return ", ".join(bounds)


def _meanings(kind: type[BaseSettings]) -> dict[str, str]:
    """The text below each field."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    meanings = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            meanings[field.target.id] = " ".join(str(below.value.value).split()).replace("|", "\\|")
    return meanings


def main() -> int:
    """Write the page, or say whether it is what would be written."""
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page())
        return 0
    if PAGE.read_text() != page():
        print("docs/settings.md is not what the settings say: python -m tests.lint.settings_doc --write")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Typed parameters of passes: how they are declared, read from a request and described to a user."""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from servemesh.errors import InvalidError
from servemesh.optimizer.domain.passes.spec import PassSpec

T = TypeVar("T", bool, int, float, str, "tuple[str, ...]")
_DECLARATION = "parameter"
TEXT_LENGTH_MAX = 1024
LIST_LENGTH_MAX = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What a parameter may be: its words, its range (both ends included) and the texts it may take."""

    doc: str
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterDescription:
    """One parameter as ListPasses shows it."""

    parameter_id: str
    description: str
    type: str
    default_json: str


def parameter(
    default: T,
    *,
    doc: str,
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] = (),
) -> T:
    """Declare a field of a class of parameters; `choices` bound a text or each text of a list."""
    declaration = Declaration(doc=doc, least=least, most=most, choices=choices)
    return dataclasses.field(default=default, metadata={_DECLARATION: declaration})


def parse_parameters(spec: PassSpec, values: Mapping[str, Any]) -> Any:
    """Return `spec.parameters` as `values` ask for, with defaults for the rest; InvalidError names what is wrong."""
    fields = {field.name: field for field in dataclasses.fields(spec.parameters)}
    for name in sorted(values.keys() - fields.keys()):
        names = ", ".join(sorted(fields)) or "none"
        raise _refused(
            spec, name, f"pass {spec.pass_id} has no parameter {name[:100]!r}; it has: {names}", names, name
        )
    types = typing.get_type_hints(spec.parameters)
    return spec.parameters(
        **{name: _read(spec, fields[name], types[name], value) for name, value in values.items()}
    )


def describe(parameters: type[Any]) -> tuple[ParameterDescription, ...]:
    """Return what there is to set, in alphabetical order."""
    types = typing.get_type_hints(parameters)
    fields = sorted(dataclasses.fields(parameters), key=lambda field: field.name)
    return tuple(
        ParameterDescription(
            parameter_id=field.name,
            description=_words(field.metadata[_DECLARATION]),
            type=_type_name(types[field.name]),
            default_json=json.dumps(field.default),
        )
        for field in fields
    )


def _read(spec: PassSpec, field: dataclasses.Field[Any], kind: Any, value: Any) -> Any:
    declaration: Declaration = field.metadata[_DECLARATION]
    if kind is bool:
        if isinstance(value, bool):
            return value
    elif kind is int:
        if _is_number(value) and float(value).is_integer() and _is_within(value, declaration):
            return int(value)
    elif kind is float:
        if _is_number(value) and _is_within(value, declaration):
            return float(value)
    elif kind is str:
        if _is_text(value, declaration):
            return value
    elif _is_list(value) and all(_is_text(item, declaration) for item in value):
        return tuple(value)
    expected, got = _expected(kind, declaration), repr(value)
    message = f"parameter {field.name!r} of pass {spec.pass_id} must be {expected}; got {got[:100]}"
    raise _refused(spec, field.name, message, expected, got)


def _refused(spec: PassSpec, field: str, message: str, expected: str, got: str) -> InvalidError:
    return InvalidError(
        message,
        reason="PASS_PARAMETER_INVALID",
        field=field[:100],
        expected=expected,
        got=got[:100],
        **{"pass": spec.pass_id},
    )


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) <= LIST_LENGTH_MAX


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_within(value: float, declaration: Declaration) -> bool:
    least = -math.inf if declaration.least is None else declaration.least
    most = math.inf if declaration.most is None else declaration.most
    return least <= value <= most


def _is_text(value: Any, declaration: Declaration) -> bool:
    if not isinstance(value, str) or len(value) > TEXT_LENGTH_MAX:
        return False
    return not declaration.choices or value in declaration.choices


def _expected(kind: Any, declaration: Declaration) -> str:
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    text = words.get(kind, f"a list of at most {LIST_LENGTH_MAX} texts")
    if declaration.choices:
        return f"{'one of' if kind is str else 'a list of'}: {', '.join(declaration.choices)}"
    if declaration.least is not None:
        text += f", at least {declaration.least:g}"
    if declaration.most is not None:
        text += f", at most {declaration.most:g}"
    return text


def _words(declaration: Declaration) -> str:
    if declaration.choices:
        return f"{declaration.doc} One of: {', '.join(declaration.choices)}."
    ends = [("at least", declaration.least), ("at most", declaration.most)]
    bounds = ", ".join(f"{word} {end:g}" for word, end in ends if end is not None)
    return f"{declaration.doc} ({bounds})" if bounds else declaration.doc


def _type_name(kind: Any) -> str:
    return {bool: "bool", int: "int", float: "float", str: "string"}.get(kind, "list of string")

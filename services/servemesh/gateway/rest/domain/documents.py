"""Reads JSON that a caller sent: each value is checked for its kind, and an error names where it stands."""

from __future__ import annotations

from typing import Any

from servemesh.errors import InvalidError

INT64_MAX = (1 << 63) - 1
_GOT_CHARS_MAX = 100
_KIND_OF = {
    dict: "an object",
    list: "an array",
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number with a fraction",
    type(None): "null",
}


def object_at(value: Any, field: str) -> dict[str, Any]:
    """Return an object; none at all is an empty one."""
    if value is None:
        return {}
    if type(value) is not dict:
        raise malformed(field, "an object", value)
    return value


def list_at(value: Any, field: str) -> list[Any]:
    """Return an array; none at all is an empty one."""
    if value is None:
        return []
    if type(value) is not list:
        raise malformed(field, "an array", value)
    return value


def text_at(value: Any, field: str) -> str:
    """Return a text; none at all is an empty one."""
    if value is None:
        return ""
    if type(value) is not str:
        raise malformed(field, "a text", value)
    return value


def flag_at(value: Any, field: str) -> bool:
    """Return true or false; none at all is false."""
    if value is None:
        return False
    if type(value) is not bool:
        raise malformed(field, "true or false", value)
    return value


def size_at(value: Any, field: str) -> int:
    """Return a whole number of 0 or more."""
    if type(value) is not int or not 0 <= value <= INT64_MAX:
        raise malformed(field, "a whole number of 0 or more", value)
    return value


def malformed(field: str, expected: str, got: Any) -> InvalidError:
    """Return the error for a value that is not what it must be."""
    shown = _KIND_OF.get(type(got), "something else")
    if type(got) in (str, int, float):
        shown = f"{shown} ({str(got)[:_GOT_CHARS_MAX]})"
    return InvalidError(
        f"{field} is {shown}, expected {expected}",
        reason="DOCUMENT_MALFORMED",
        field=field,
        expected=expected,
        got=shown,
    )

"""What parent and child say to each other: files in the work folder, and lines on the child's stdout."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from servemesh import errors
from servemesh.errors import ServemeshError

REQUEST = "request.json"  # {"task", "arguments", "limits"}
RESULT = "result.json"
ERROR = "error.json"  # {"kind", "reason", "message", "metadata"}
TEMPORARY = "tmp"  # folder for what libraries write

MESSAGE_CHARS_MAX = 2_000
LOG_CHARS_MAX = 1_000
STEP_CHARS_MAX = 200

_KINDS: Mapping[str, type[ServemeshError]] = {
    kind.__name__: kind
    for kind in (
        errors.ServemeshError,
        errors.InvalidError,
        errors.MissingError,
        errors.ConflictError,
        errors.OverloadedError,
        errors.UnavailableError,
        errors.UnsupportedError,
        errors.DamagedError,
        errors.ExpiredError,
    )
}


def write(path: Path, value: Mapping[str, Any]) -> None:
    """Write `value` as JSON so that the file is there whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(value))
    part.replace(path)


def read(path: Path, bytes_max: int) -> dict[str, Any] | None:
    """Return the JSON object in the file; None if it is not there, too large, a link or something else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        text = file.read(bytes_max + 1)
    if len(text) > bytes_max:
        return None
    return parsed(text)


def parsed(text: bytes) -> dict[str, Any] | None:
    """Return the JSON object in `text`, None if there is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def from_error(error: ServemeshError) -> dict[str, Any]:
    """Return what error.json holds."""
    kind = next(cls.__name__ for cls in type(error).__mro__ if cls.__name__ in _KINDS)
    message = error.message[:MESSAGE_CHARS_MAX]
    field = error.metadata.get("field", "")
    return {
        "kind": kind,
        "reason": error.reason,
        "message": message,
        "field": field,
        "metadata": error.metadata,
    }


def to_error(said: Mapping[str, Any]) -> ServemeshError | None:
    """Return the error that error.json holds; None if it holds none."""
    kind, reason, message = said.get("kind"), said.get("reason"), said.get("message")
    if not (
        isinstance(kind, str) and kind in _KINDS and isinstance(reason, str) and isinstance(message, str)
    ):
        return None
    told = said.get("metadata")
    metadata = {str(key): str(value) for key, value in told.items()} if isinstance(told, dict) else {}
    for taken in ("self", "message", "reason", "retry_after_s"):
        metadata.pop(taken, None)
    return _KINDS[kind](message[:MESSAGE_CHARS_MAX], reason=reason[:63], **metadata)

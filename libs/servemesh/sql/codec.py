"""Values ↔ what a column holds: JSON documents and microseconds."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from pydantic import TypeAdapter

Value = TypeVar("Value")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Codec(Generic[Value]):
    """Writes values of one dataclass as JSON and reads them back, checked.

    With `figures`, infinite numbers and NaN come back, too, which JSON proper does not have; that takes longer.
    """

    def __init__(self, kind: type[Value], *, figures: bool = False) -> None:
        self._adapter = TypeAdapter(kind)
        self._figures = figures

    def dumps(self, value: Value) -> str:
        """JSON of the value."""
        if self._figures:
            return json.dumps(self._adapter.dump_python(value, mode="json"), separators=(",", ":"))
        return self._adapter.dump_json(value).decode()

    def loads(self, text: str) -> Value:
        """The value again."""
        return self._adapter.validate_json(text)


def to_us(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def from_us(moment_us: int) -> datetime:
    """The moment in UTC."""
    return _EPOCH + timedelta(microseconds=moment_us)

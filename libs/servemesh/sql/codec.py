"""Values ↔ what a column holds: JSON documents and microseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from pydantic import TypeAdapter

Value = TypeVar("Value")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Codec(Generic[Value]):
    """Writes values of one dataclass as JSON and reads them back, checked."""

    def __init__(self, kind: type[Value]) -> None:
        self._adapter = TypeAdapter(kind)

    def dumps(self, value: Value) -> str:
        """JSON of the value."""
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

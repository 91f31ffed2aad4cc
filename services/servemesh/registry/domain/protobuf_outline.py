"""The outermost fields of a protobuf message, read without decoding what they hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

FIELDS_MAX = 100_000  # functions and metadata of the largest real models stay well below
VARINT_BYTES_MAX = 10
_FIXED_BYTES = {1: 8, 5: 4}

Read = Callable[[int, int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """Numbers of the fields that were found, and why reading stopped before the end (None if it did not)."""

    fields: frozenset[int]
    first: int | None
    fault: str | None


def outline(read: Read, size_bytes: int) -> Outline:
    """Walk over the outermost fields of a message of `size_bytes`; `read(offset, length)` gives its bytes."""
    seen: list[int] = []
    numbers: set[int] = set()
    at, fault = 0, None
    while at < size_bytes and fault is None:
        if len(seen) >= FIELDS_MAX:
            fault = f"it has more than {FIELDS_MAX} outermost fields"
            break
        number, at, fault = _field(read, at, size_bytes)
        if number:
            numbers.add(number)
            seen.append(number)
    return Outline(fields=frozenset(numbers), first=seen[0] if seen else None, fault=fault)


def _field(read: Read, at: int, size_bytes: int) -> tuple[int, int, str | None]:
    tag, after_tag = _varint(read(at, VARINT_BYTES_MAX), at)
    if tag is None or tag >> 3 == 0:
        return 0, at, f"byte {at} does not begin a field"
    number, wire_type = tag >> 3, tag & 7
    if wire_type in (0, 2):
        value, end = _varint(read(after_tag, VARINT_BYTES_MAX), after_tag)
        if value is None:
            return number, at, f"the field at byte {at} is cut short"
        if wire_type == 2:
            end += value
    elif wire_type in _FIXED_BYTES:
        end = after_tag + _FIXED_BYTES[wire_type]
    else:
        return 0, at, f"byte {at} does not begin a field"
    if end > size_bytes:
        return number, at, f"the field at byte {at} should reach to byte {end}, the file ends at {size_bytes}"
    return number, end, None


def _varint(data: bytes, at: int) -> tuple[int | None, int]:
    value = 0
    for index, byte in enumerate(data[:VARINT_BYTES_MAX]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at + index + 1
    return None, at

"""Tensors as raw bytes: row-major little-endian elements; each element of BYTES after its length as a uint32."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from servemesh.errors import InvalidError
from servemesh.tensors.datatypes import BYTES, Datatype, of_array
from servemesh.tensors.shapes import elements_of

Array = np.ndarray[Any, Any]
_LENGTH = struct.Struct("<I")


def decode(data: bytes, datatype: Datatype, shape: Sequence[int], field: str) -> Array:
    """Return the tensor, a read-only view of `data` unless it is BYTES.

    InvalidError naming `field` if the bytes are not exactly those of such a tensor.
    """
    elements = elements_of(shape, f"{field}.shape")
    if datatype is BYTES:
        return _decode_bytes(data, elements, field).reshape(shape)
    if len(data) != elements * datatype.size_bytes:
        raise _wrong_length(field, elements * datatype.size_bytes, len(data))
    array = np.frombuffer(data, datatype.dtype).reshape(shape)
    if datatype.name == "BOOL" and elements and array.view(np.uint8).max() > 1:
        raise InvalidError(
            f"{field} has a byte other than 0 and 1, expected BOOL",
            reason="CONTENTS_INVALID",
            field=field,
            expected="0 or 1",
        )
    return array


def encode(array: Array) -> bytes:
    """Return the bytes of a tensor; text is sent as UTF-8."""
    if array.dtype.kind in "SUOT":
        return b"".join(map(_encoded_element, array.ravel().tolist()))
    if array.dtype.byteorder == ">":
        array = array.astype(of_array(array).dtype)
    return array.tobytes()


def _decode_bytes(data: bytes, elements: int, field: str) -> Array:
    # Each element takes 4 bytes at least, so that nothing larger than the message is allocated.
    if elements * _LENGTH.size > len(data):
        raise _wrong_length(field, f"at least {elements * _LENGTH.size}", len(data))
    _check_lengths(data, elements, field)
    array = np.empty(elements, dtype=object)
    position = 0
    for index in range(elements):
        start = position + _LENGTH.size
        position = start + _LENGTH.unpack_from(data, position)[0]
        array[index] = data[start:position]
    return array


def _check_lengths(data: bytes, elements: int, field: str) -> None:
    """Walk over the elements before any is made: a million of them would be made in vain."""
    position = 0
    for _ in range(elements):
        start = position + _LENGTH.size
        if start > len(data):
            raise _wrong_length(field, f"at least {start}", len(data))
        position = start + _LENGTH.unpack_from(data, position)[0]
        if position > len(data):
            raise _wrong_length(field, f"at least {position}", len(data))
    if position != len(data):
        raise _wrong_length(field, position, len(data))


def _encoded_element(element: object) -> bytes:
    data = element if isinstance(element, bytes) else str(element).encode()
    return _LENGTH.pack(len(data)) + data


def _wrong_length(field: str, expected: object, got: int) -> InvalidError:
    return InvalidError(
        f"{field} has {got} bytes, expected {expected}",
        reason="BYTE_LENGTH_WRONG",
        field=field,
        expected=expected,
        got=got,
    )

"""What every reader of a format gives: columns that can be read block by block, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from servemesh.errors import InvalidError
from servemesh.tensors.datatypes import BYTES, DATATYPES

Array = np.ndarray[Any, Any]

BLOCK_BYTES = 16 * 1024 * 1024

_DATATYPE_OF = {
    datatype.dtype: name for name, datatype in DATATYPES.items() if name not in ("BF16", BYTES.name)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceColumn:
    """One column of a user's data. `blocks` reads its rows from the beginning, each time that it is called."""

    name: str
    row_count: int
    blocks: Callable[[], Iterator[Array]]


def canonical(name: str, block: Array) -> tuple[Array, str]:
    """Return the block as it is kept, with its OIP datatype: little-endian numbers, or bytes. InvalidError for more."""
    kind = block.dtype.kind
    if kind in "SO":  # objects are bytes here: what else they may be is refused before it is read
        return block.astype(object), BYTES.name
    if kind == "U":
        texts = np.empty(block.size, dtype=object)
        texts[:] = [text.encode() for text in block.ravel().tolist()]
        return texts.reshape(block.shape), BYTES.name
    dtype = block.dtype.newbyteorder("<") if kind in "iuf" else block.dtype
    datatype = _DATATYPE_OF.get(dtype)
    if datatype is None:
        raise unsupported(name, str(block.dtype))
    return np.ascontiguousarray(block, dtype), datatype


def check_dtype(name: str, dtype: np.dtype[Any]) -> None:
    """InvalidError naming the column unless arrays of `dtype` can be kept; called before any is read."""
    if dtype.hasobject:
        raise InvalidError(
            f"column {name!r} is an array of Python objects, which only code can read: store numbers, or text as a "
            "fixed-width array (array.astype('U')), and lists of equal length as further axes",
            reason="COLUMN_UNSUPPORTED",
            field=name,
            expected="numbers or text",
            got="objects",
        )
    if (
        dtype.kind not in "SU"
        and (dtype.newbyteorder("<") if dtype.kind in "iuf" else dtype) not in _DATATYPE_OF
    ):
        raise unsupported(name, str(dtype))


def unsupported(name: str, got: str) -> InvalidError:
    """Return the error for a column of a type that no model takes."""
    return InvalidError(
        f"column {name!r} is {got}, expected whole numbers, floats, booleans or text: convert it and store it again",
        reason="COLUMN_UNSUPPORTED",
        field=name,
        expected="whole numbers, floats, booleans or text",
        got=got,
    )


def damaged(what: str, field: str) -> InvalidError:
    """Return the error for a file that is not what its beginning says."""
    return InvalidError(
        f"{what} cannot be read: the file is damaged or incomplete", reason="DATASET_DAMAGED", field=field
    )

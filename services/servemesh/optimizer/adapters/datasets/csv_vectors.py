"""Rows of several values in a CSV file: columns `x[0]`, `x[1]`, … are one column `x`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.datasets.source_column import Array, SourceColumn

_PART = re.compile(r"(.+)\[(0|[1-9]\d{0,6})\]")


def gathered(columns: Sequence[SourceColumn]) -> list[SourceColumn]:
    """Return the columns with such parts put together, in the place of the first part.

    InvalidError naming the first part that is missing.
    """
    parts: dict[str, dict[int, SourceColumn]] = {}
    order: list[str | SourceColumn] = []
    for column in columns:
        found = _PART.fullmatch(column.name)
        if found is None:
            order.append(column)
            continue
        whole, index = found[1], int(found[2])
        if whole not in parts:
            parts[whole] = {}
            order.append(whole)
        if index in parts[whole]:
            raise _wrong(f"{whole}[{index}]", "once", "twice")
        parts[whole][index] = column
    return [_whole(each, parts[each]) if isinstance(each, str) else each for each in order]


def _whole(name: str, parts: dict[int, SourceColumn]) -> SourceColumn:
    for index in range(len(parts)):
        if index not in parts:
            raise _wrong(f"{name}[{index}]", f"{name}[0] to {name}[{max(parts)}]", "none")
    ordered = [parts[index] for index in range(len(parts))]

    def blocks() -> Iterator[Array]:
        for rows in zip(*(part.blocks() for part in ordered), strict=True):
            yield np.stack(rows, axis=1)

    return SourceColumn(name=name, row_count=ordered[0].row_count, blocks=blocks)


def _wrong(part: str, expected: str, got: str) -> InvalidError:
    return InvalidError(
        f"the CSV file has column {part!r} {got}, expected {expected}"
        if got == "twice"
        else f"the CSV file has no column {part!r}, expected {expected}",
        reason="COLUMNS_INVALID",
        field=part,
        expected=expected,
        got=got,
    )

"""What a Dataset is made of: named columns of one datatype and one shape per row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from servemesh.errors import InvalidError

COLUMNS_MAX = 4_096
NAME_CHARS_MAX = 1_024
ROWS_MAX = 100_000_000
NAMES_SHOWN_MAX = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column; `row_shape` is empty where each row is one number or text."""

    name: str
    datatype: str
    row_shape: tuple[int, ...]
    label: bool


def check_names(names: Sequence[str], labels: Sequence[str]) -> None:
    """InvalidError unless the columns have distinct names, every label is one of them, and an input is left."""
    if not 1 <= len(names) <= COLUMNS_MAX:
        raise InvalidError(
            f"the data has {len(names)} columns, expected 1 to {COLUMNS_MAX}",
            reason="COLUMNS_INVALID",
            field="columns",
            expected=f"1 to {COLUMNS_MAX}",
            got=len(names),
        )
    for name in names:
        if not name or len(name) > NAME_CHARS_MAX or names.count(name) > 1:
            raise InvalidError(
                f"the data has a column named {name[:80]!r}{' twice' if names.count(name) > 1 else ''}: names must "
                f"be unique and have 1 to {NAME_CHARS_MAX} characters",
                reason="COLUMNS_INVALID",
                field=name[:80],
            )
    for label in labels:
        if label not in names:
            raise InvalidError(
                f"label column {label[:80]!r} is not in the data, which has {shown(names)}",
                reason="LABEL_COLUMN_MISSING",
                field=label[:80],
                expected=shown(names),
                got=label[:80],
            )
    if set(names) <= set(labels):
        raise InvalidError(
            "every column of the data is a label: at least one must feed an input of a model",
            reason="COLUMNS_INVALID",
            field="label_columns",
        )


def check_row_counts(counts: Sequence[tuple[str, int]]) -> int:
    """Return the number of rows; InvalidError naming the column that has another than the first, or none."""
    first, row_count = counts[0]
    for name, count in counts:
        if count != row_count:
            raise InvalidError(
                f"column {name!r} has {count} rows, expected {row_count} as in column {first!r}",
                reason="ROW_COUNTS_DIFFER",
                field=name,
                expected=row_count,
                got=count,
            )
    if not 1 <= row_count <= ROWS_MAX:
        raise InvalidError(
            f"the data has {row_count} rows, expected 1 to {ROWS_MAX}",
            reason="DATASET_TOO_SMALL" if row_count < 1 else "DATASET_TOO_LARGE",
            field=first,
            expected=f"1 to {ROWS_MAX}",
            got=row_count,
        )
    return row_count


def shown(names: Sequence[str]) -> str:
    """Return some of the names for an error's text."""
    more = ", …" if len(names) > NAMES_SHOWN_MAX else ""
    return ", ".join(repr(name[:80]) for name in names[:NAMES_SHOWN_MAX]) + more if names else "none"

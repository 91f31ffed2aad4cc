"""Columns of Parquet and CSV files, read with pyarrow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.datasets import csv_vectors
from servemesh.optimizer.adapters.datasets.source_column import (
    BLOCK_BYTES,
    Array,
    SourceColumn,
    damaged,
    unsupported,
)

PARQUET_MAGIC = b"PAR1"
CSV_BYTES_MAX = 1024**3  # read whole, because the type of a column depends on all of its cells
_ROWS_AT_ONCE_MAX = 8_192
_UNEVEN_ROW = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")


def of_parquet(path: Path) -> list[SourceColumn]:
    """Return the columns of a Parquet file, of which only the outline is read yet."""
    try:
        file = pyarrow.parquet.ParquetFile(path, memory_map=True)
    except (pa.ArrowException, OSError) as error:
        raise damaged("the Parquet file", path.name) from error
    row_count = file.metadata.num_rows
    return [
        SourceColumn(name=name, row_count=row_count, blocks=_reader(path, name))
        for name in file.schema_arrow.names
    ]


def of_csv(path: Path) -> list[SourceColumn]:
    """Return the columns of a CSV file with a header; `x[0]`, `x[1]`, … become one column `x`."""
    if path.stat().st_size > CSV_BYTES_MAX:
        raise InvalidError(
            f"the CSV file has {path.stat().st_size} bytes, expected at most {CSV_BYTES_MAX}: store it as Parquet",
            reason="DATASET_TOO_LARGE",
            field=path.name,
            expected=CSV_BYTES_MAX,
            got=path.stat().st_size,
        )
    try:
        table = pyarrow.csv.read_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(strings_can_be_null=False),
        )
    except (pa.ArrowException, OSError) as error:
        raise _csv_refusal(error, path.name) from error
    columns = [_csv_column(name, table.column(index)) for index, name in enumerate(table.column_names)]
    return csv_vectors.gathered(columns)


def _reader(path: Path, name: str) -> Any:
    def blocks() -> Iterator[Array]:
        try:
            # A file of its own for each column: reading one column leaves the others unread.
            with pyarrow.parquet.ParquetFile(path, memory_map=True) as file:
                index = file.schema_arrow.names.index(name)
                row_bytes = _row_bytes(file.metadata)
                at_once = min(max(1, BLOCK_BYTES // row_bytes), _ROWS_AT_ONCE_MAX)
                _check_type(name, file.schema_arrow.field(index).type)
                for batch in file.iter_batches(at_once, columns=[name], use_threads=False):
                    yield _array(name, batch.column(0))
        except (pa.ArrowException, OSError) as error:
            raise damaged(f"column {name!r}", name) from error

    return blocks


def _row_bytes(metadata: Any) -> int:
    groups = (metadata.row_group(index) for index in range(metadata.num_row_groups))
    total_bytes = sum(int(group.total_byte_size) for group in groups)
    return max(1, total_bytes // max(1, int(metadata.num_rows)))


def _check_type(name: str, kind: pa.DataType) -> None:
    """InvalidError unless the type is a number, text, or lists of these."""
    if isinstance(kind, pa.FixedShapeTensorType):
        kind = kind.value_type
    while _is_list(kind):
        kind = kind.value_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not (
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or _is_text(kind)
    ):
        raise unsupported(name, str(kind))


def _array(name: str, column: Any) -> Array:
    """Return the rows as one array, whose further axes are the lists in them."""
    if isinstance(column.type, pa.FixedShapeTensorType):
        _check_whole(name, column)
        tensors: Array = column.to_numpy_ndarray()
        return tensors
    row_count, shape = len(column), []
    while _is_list(column.type):
        _check_whole(name, column)
        shape.append(_length(name, column))
        column = column.flatten()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not pa.types.is_floating(column.type):
        _check_whole(name, column)
    return _flat(column).reshape(row_count, *shape)


def _length(name: str, column: Any) -> int:
    """Return the length of every list; InvalidError if they differ."""
    if pa.types.is_fixed_size_list(column.type):
        return int(column.type.list_size)
    lengths = np.unique(column.value_lengths().to_numpy(zero_copy_only=False))
    if len(lengths) > 1:
        raise InvalidError(
            f"the lists in column {name!r} have {lengths[0]} to {lengths[-1]} values, expected as many in each: pad "
            "them to one length",
            reason="COLUMN_RAGGED",
            field=name,
            expected="lists of one length",
            got=f"{lengths[0]} to {lengths[-1]}",
        )
    return int(lengths[0]) if len(lengths) else 0


def _flat(column: Any) -> Array:
    if _is_text(column.type):
        texts = np.empty(len(column), dtype=object)
        texts[:] = column.cast(pa.large_binary()).to_pylist()
        return texts
    values: Array = column.to_numpy(zero_copy_only=False)
    return values


def _check_whole(name: str, column: Any) -> None:
    if column.null_count:
        raise InvalidError(
            f"{column.null_count} values of column {name!r} are missing: fill them, or store floats with NaN where the "
            "model takes that",
            reason="VALUES_MISSING",
            field=name,
            expected="a value in every row",
            got=column.null_count,
        )


def _csv_column(name: str, column: Any) -> SourceColumn:
    """Whole numbers of which some are missing become floats; a float that is missing is NaN."""
    if column.null_count and pa.types.is_integer(column.type):
        column = column.cast(pa.float64())
    elif pa.types.is_null(column.type):
        _check_whole(name, column)

    def blocks() -> Iterator[Array]:
        _check_type(name, column.type)
        for chunk in column.iterchunks():
            for begin in range(0, len(chunk), _ROWS_AT_ONCE_MAX):
                yield _array(name, chunk.slice(begin, _ROWS_AT_ONCE_MAX))

    return SourceColumn(name=name, row_count=len(column), blocks=blocks)


def _csv_refusal(error: Exception, name: str) -> InvalidError:
    uneven = _UNEVEN_ROW.search(str(error))
    if uneven is None:
        return damaged("the CSV file", name)
    row, expected, got = uneven.groups()
    return InvalidError(
        f"row {row} of the CSV file has {got} cells, expected {expected} as in the header",
        reason="ROW_UNEVEN",
        field=f"row {row}",
        expected=expected,
        got=got,
    )


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )

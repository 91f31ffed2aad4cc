"""One column on disk: a .npy file of its rows, or for text a .npy file of where each element ends, and its bytes."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from servemesh.errors import InvalidError
from servemesh.optimizer.domain.datasets import Column
from servemesh.tensors.datatypes import BYTES, DATATYPES

Array = np.ndarray[Any, Any]


def _texts_beside(path: Path) -> Path:
    return path.with_suffix(".bin")


class ColumnWriter:
    """Writes the rows of one column, block by block, so that no column is ever whole in memory."""

    def __init__(self, path: Path, *, name: str, label: bool, row_count: int, bytes_max: int) -> None:
        self._path = path
        self._name = name
        self._label = label
        self._row_count = row_count
        self._bytes_left = bytes_max
        self._rows = 0
        self._column: Column | None = None
        self._file: BinaryIO | None = None
        self._texts: BinaryIO | None = None
        self._end = 0

    def __enter__(self) -> ColumnWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in (self._file, self._texts):
            if file is not None:
                file.close()

    def append(self, block: Array, datatype: str) -> None:
        """Write the next rows, of `datatype` and C order. InvalidError if they are unlike the rows before."""
        if self._column is None:
            self._begin(block.shape[1:], datatype)
        column, file = self._column, self._file
        assert column is not None
        assert file is not None
        if (block.shape[1:], datatype) != (column.row_shape, column.datatype):
            raise self._uneven(
                f"{column.datatype}{list(column.row_shape)}", f"{datatype}{list(block.shape[1:])}"
            )
        if self._label:
            self._check_label(block)
        self._rows += len(block)
        if self._texts is None:
            self._take(block.nbytes)
            block.tofile(file)
            return
        elements = [bytes(element) for element in block.ravel()]
        ends = np.cumsum([len(element) for element in elements], dtype=np.int64) + self._end
        self._end = int(ends[-1]) if len(ends) else self._end
        self._take(ends.nbytes + sum(map(len, elements)))
        ends.tofile(file)
        self._texts.write(b"".join(elements))

    def finished(self) -> Column:
        """Return the column once all rows are written."""
        if self._column is None or self._rows != self._row_count:
            raise self._uneven(f"{self._row_count} rows", f"{self._rows} rows")
        return self._column

    def _begin(self, row_shape: tuple[int, ...], datatype: str) -> None:
        if 0 in row_shape:
            raise self._uneven("at least one value per row", f"rows of shape {list(row_shape)}")
        self._column = Column(name=self._name, datatype=datatype, row_shape=row_shape, label=self._label)
        dtype = np.dtype(np.int64) if datatype == BYTES.name else DATATYPES[datatype].dtype
        self._file = self._path.open("wb")
        header = {
            "descr": np.lib.format.dtype_to_descr(dtype),
            "fortran_order": False,
            "shape": (self._row_count, *row_shape),
        }
        np.lib.format.write_array_header_1_0(self._file, header)
        if datatype == BYTES.name:
            self._texts = _texts_beside(self._path).open("wb")

    def _check_label(self, block: Array) -> None:
        if block.dtype.kind != "f" or np.isfinite(block).all():
            return
        wrong = int(np.argmin(np.isfinite(block).reshape(len(block), -1).all(axis=1)))
        raise InvalidError(
            f"label column {self._name!r} is not a finite number in row {self._rows + wrong}: leave such rows out",
            reason="LABELS_NOT_FINITE",
            field=self._name,
            expected="finite numbers",
            got=f"row {self._rows + wrong}",
        )

    def _take(self, size_bytes: int) -> None:
        self._bytes_left -= size_bytes
        if self._bytes_left < 0:
            raise InvalidError(
                f"the data is too large: column {self._name!r} goes beyond the bytes that are allowed once unpacked",
                reason="DATASET_TOO_LARGE",
                field=self._name,
            )

    @property
    def bytes_left(self) -> int:
        """How many bytes the columns after this one may take."""
        return self._bytes_left

    def _uneven(self, expected: str, got: str) -> InvalidError:
        return InvalidError(
            f"column {self._name!r} has {got}, expected {expected} throughout",
            reason="COLUMN_UNEVEN",
            field=self._name,
            expected=expected,
            got=got,
        )


class StoredColumn:
    """Reads rows of one column; its files are mapped, so that only what is asked for comes into memory."""

    def __init__(self, path: Path, column: Column) -> None:
        self.column = column
        self._rows: Array = np.load(path, mmap_mode="r", allow_pickle=False)
        self._texts: Array | None = None
        if column.datatype == BYTES.name:
            beside = _texts_beside(path)
            self._texts = (
                np.memmap(beside, np.uint8, mode="r") if beside.stat().st_size else np.empty(0, np.uint8)
            )

    def take(self, rows: Array) -> Array:
        """Return the rows of these numbers, in this order; BYTES come as objects of type bytes."""
        if self._texts is None:
            return np.asarray(self._rows[rows])
        ends = self._rows.reshape(-1)
        width = int(np.prod(self.column.row_shape, dtype=np.int64))
        places = (np.asarray(rows)[:, np.newaxis] * width + np.arange(width)).ravel()
        taken = np.empty(len(places), dtype=object)
        for index, place in enumerate(places.tolist()):
            begin = int(ends[place - 1]) if place else 0
            taken[index] = self._texts[begin : int(ends[place])].tobytes()
        return taken.reshape(len(rows), *self.column.row_shape)

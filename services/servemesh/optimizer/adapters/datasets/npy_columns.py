"""Columns in NumPy's own formats: .npy files and .npz archives, read without ever unpickling."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

import numpy as np

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.datasets.source_column import (
    BLOCK_BYTES,
    Array,
    SourceColumn,
    check_dtype,
    damaged,
)

MAGIC = b"\x93NUMPY"
_HEADER_BYTES_MAX = 64 * 1024
_HEADERS: dict[tuple[int, int], Callable[..., tuple[tuple[int, ...], bool, np.dtype[Any]]]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
Opened = Callable[[], AbstractContextManager[IO[bytes]]]


def of_folder(folder: Path, files: list[Path], bytes_max: int) -> list[SourceColumn]:
    """Return a column for each .npy file, named by its path without the ending."""
    return [
        _column(
            file.relative_to(folder).with_suffix("").as_posix(),
            lambda file=file: file.open("rb"),  # type: ignore[misc]
            file.stat().st_size,
            bytes_max,
        )
        for file in files
    ]


def of_archive(path: Path, bytes_max: int) -> list[SourceColumn]:
    """Return a column for each array of an .npz. InvalidError if it would unpack to more than `bytes_max`."""
    try:
        archive = zipfile.ZipFile(path)
        members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise damaged("the archive", path.name) from error
    unpacked_bytes = sum(member.file_size for member in members)
    if unpacked_bytes > bytes_max:
        raise InvalidError(
            f"the archive unpacks to {unpacked_bytes} bytes, expected at most {bytes_max}",
            reason="DATASET_TOO_LARGE",
            field=path.name,
            expected=bytes_max,
            got=unpacked_bytes,
        )
    return [_member(archive, member, bytes_max) for member in members if not member.is_dir()]


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, bytes_max: int) -> SourceColumn:
    name = member.filename.removesuffix(".npy")
    if name == member.filename or member.flag_bits & 1:
        raise InvalidError(
            f"the archive has {member.filename[:80]!r}, expected arrays as numpy.savez writes them",
            reason="DATASET_FORMAT_UNKNOWN",
            field=member.filename[:80],
        )
    return _column(name, lambda: archive.open(member), member.file_size, bytes_max)


def _column(name: str, opened: Opened, size_bytes: int, bytes_max: int) -> SourceColumn:
    with _reading(name), opened() as file:
        shape, by_column, dtype = _header(name, file)
        values_bytes = size_bytes - file.tell()
    if not shape:
        raise InvalidError(
            f"column {name!r} is a single value, expected an array whose first axis is the rows",
            reason="COLUMN_UNSUPPORTED",
            field=name,
            expected="one axis or more",
            got="none",
        )
    needed_bytes = math.prod(shape) * dtype.itemsize
    if needed_bytes != values_bytes or needed_bytes > bytes_max:
        raise damaged(f"column {name!r}", name)

    def blocks() -> Iterator[Array]:
        with _reading(name), opened() as file:
            _header(name, file)
            if by_column:
                yield _by_column(file, shape, dtype)
            else:
                yield from _by_row(file, shape, dtype)

    return SourceColumn(name=name, row_count=shape[0], blocks=blocks)


def _header(name: str, file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether columns come first, and type, of which no value is read yet."""
    read = _HEADERS.get(np.lib.format.read_magic(file))
    if read is None:
        raise damaged(f"column {name!r}", name)
    shape, by_column, dtype = read(file, max_header_size=_HEADER_BYTES_MAX)
    check_dtype(name, dtype)
    if any(size < 0 for size in shape):
        raise damaged(f"column {name!r}", name)
    return shape, by_column, dtype


def _by_row(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[Array]:
    row_bytes = math.prod(shape[1:]) * dtype.itemsize
    at_once = max(1, BLOCK_BYTES // max(row_bytes, 1))
    for begin in range(0, shape[0], at_once):
        count = min(at_once, shape[0] - begin)
        data = file.read(count * row_bytes)
        yield np.frombuffer(data, dtype).reshape(count, *shape[1:])


def _by_column(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return the whole array, which there is no way to read by rows."""
    return np.frombuffer(file.read(), dtype).reshape(shape[::-1]).transpose()


class _reading(AbstractContextManager[None]):  # noqa: N801
    """Turns what numpy and zipfile raise over damaged bytes into our error; never their text."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, InvalidError):
            return
        if isinstance(
            error, ValueError | EOFError | OSError | zipfile.BadZipFile | RuntimeError | SyntaxError
        ):
            raise damaged(f"column {self._name!r}", self._name) from error

"""The log of one child: a file that is rotated before it outgrows its bound."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO


class LogFile:
    """Appends bytes to `path`; what is full moves to `path`.1, and the `path`.1 before is dropped."""

    def __init__(self, path: Path, *, size_bytes_max: int) -> None:
        self._path = path
        self._size_bytes_max = size_bytes_max
        self._file: BinaryIO | None = None
        self._size_bytes = 0

    def write(self, data: bytes) -> None:
        """Append `data`, rotating first if it would not fit."""
        if self._file is None:
            self._open()
        if self._size_bytes and self._size_bytes + len(data) > self._size_bytes_max:
            self.close()
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            self._open()
        assert self._file is not None
        self._file.write(data)
        self._file.flush()
        self._size_bytes += len(data)

    def close(self) -> None:
        """Close the file; a later write opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> None:
        self._file = self._path.open("ab")
        self._size_bytes = self._path.stat().st_size

"""The log of one child: a file that is rotated before it outgrows its bound."""

from __future__ import annotations

from io import FileIO
from pathlib import Path


class LogFile:
    """Appends bytes to `path`; what is full moves to `path`.1, and the `path`.1 before is dropped."""

    def __init__(self, path: Path, *, size_bytes_max: int) -> None:
        self._path = path
        self._size_bytes_max = size_bytes_max
        self._file: FileIO | None = None
        self._size_bytes = 0

    def write(self, data: bytes) -> None:
        """Append `data`, rotating first if it would not fit. What a full disk does not take is lost."""
        try:
            self._append(data)
        except OSError:
            self.close()

    def close(self) -> None:
        """Close the file; a later write opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _append(self, data: bytes) -> None:
        if self._file is None:
            self._open()
        if self._size_bytes and self._size_bytes + len(data) > self._size_bytes_max:
            self.close()
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            self._open()
        assert self._file is not None
        self._size_bytes += self._file.write(data)

    def _open(self) -> None:
        self._file = self._path.open("ab", buffering=0)  # what was not written must not come back at `close`
        self._size_bytes = self._path.stat().st_size

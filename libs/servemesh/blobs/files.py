"""Files on their way to and from a store: hashed, never half there, never through a link."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import BinaryIO

from servemesh.errors import DamagedError


def check_file(path: Path, sha256: str) -> int:
    """Return the size of the file in bytes; DamagedError if it does not hash to `sha256`."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size_bytes = file.tell()
    if digest != sha256:
        raise damaged(sha256, f"hash to {digest}")
    return size_bytes


class ArrivingFile:
    """A new file that stays only if `finish` found its bytes to be the ones named."""

    def __init__(self, path: Path, *, sha256: str, size_bytes: int) -> None:
        self._path = path
        self._sha256 = sha256
        self._size_bytes = size_bytes
        self._hash = hashlib.sha256()
        self._written_bytes = 0
        self._file: BinaryIO | None = None
        self._finished = False

    def create(self) -> None:
        """Create the file; FileExistsError if there is one, also if it is a dangling link."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.fdopen(os.open(self._path, flags, 0o600), "wb")

    def write(self, chunk: bytes) -> None:
        """Append; DamagedError as soon as there is more than was named."""
        assert self._file is not None
        self._written_bytes += len(chunk)
        if self._written_bytes > self._size_bytes:
            raise damaged(self._sha256, f"are more than {self._size_bytes}")
        self._hash.update(chunk)
        self._file.write(chunk)

    def finish(self) -> None:
        """Check size and hash, and sync the file to disk."""
        assert self._file is not None
        if self._written_bytes != self._size_bytes:
            raise damaged(self._sha256, f"are {self._written_bytes}, expected {self._size_bytes}")
        if self._hash.hexdigest() != self._sha256:
            raise damaged(self._sha256, f"hash to {self._hash.hexdigest()}")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._finished = True

    def close(self) -> None:
        """Close the file, and remove it if it is not finished."""
        if self._file is None:
            return
        self._file.close()
        self._file = None
        if not self._finished:
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()


def damaged(sha256: str, what: str) -> DamagedError:
    """Return the error for bytes that are not the ones named."""
    return DamagedError(
        f"the bytes of blob {sha256} {what}: the copy is damaged", reason="BLOB_DAMAGED", sha256=sha256
    )

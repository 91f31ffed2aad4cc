"""A small file that is either the old one or the new one, whatever happens while it is written."""

from __future__ import annotations

import os
from pathlib import Path


def replace_file(path: Path, data: bytes) -> None:
    """Write `data` to `path`, synced to disk, in one step."""
    beside = path.with_name(path.name + ".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    beside.replace(path)


def read_file(path: Path, *, size_bytes_max: int) -> bytes | None:
    """Return what is in the file; None if it cannot be read or is larger than it can be."""
    try:
        if path.stat().st_size > size_bytes_max:
            return None
        return path.read_bytes()
    except OSError:
        return None

"""Keeps a second registry off the same data folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servemesh.errors import ConflictError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for the length of the block; ConflictError if it is held."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(
                "another registry uses this data folder; stop it or name another folder with "
                "SERVEMESH_REGISTRY_DATA_DIR",
                reason="DATA_DIR_BUSY",
            ) from None
        yield
    finally:
        os.close(descriptor)

"""The folder in which jobs work. What a process that was killed has left is removed by the next one that starts."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

_LOCK = "lock"


@asynccontextmanager
async def work_folder(root: Path) -> AsyncIterator[Path]:
    """Sweep `root`, then hold a new folder in it for the length of the block. Several processes may share the root."""
    own, descriptor = await asyncio.to_thread(_begun, root)
    try:
        yield own
    finally:
        await asyncio.to_thread(shutil.rmtree, own, ignore_errors=True)
        os.close(descriptor)


def _begun(root: Path) -> tuple[Path, int]:
    """Return a new folder with the descriptor that holds its lock for as long as this process lives."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _holding(root):  # so that nobody sweeps a folder between its making and its locking
        for left in root.iterdir():
            if left.is_dir() and not left.is_symlink() and not _is_held(left):
                shutil.rmtree(left, ignore_errors=True)
        own = root / uuid.uuid4().hex
        own.mkdir(mode=0o700)
        descriptor = _lock_file(own)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return own, descriptor


@contextmanager
def _holding(folder: Path) -> Iterator[None]:
    descriptor = _lock_file(folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _is_held(folder: Path) -> bool:
    descriptor = _lock_file(folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _lock_file(folder: Path) -> int:
    return os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

"""Staged bytes on the local disk: one folder for an Upload, its files named by their place, never by the caller."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

from servemesh import names
from servemesh.errors import OverloadedError, UnavailableError
from servemesh.registry.domain.uploads import Upload

T = TypeVar("T")

THREADS_MAX = 4
RETRY_AFTER_S = 60.0
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class OpenFile:
    """Satisfies service.uploads.StagedFile. Hashes what streams in, as long as it began at the first byte."""

    def __init__(self, path: Path, threads: ThreadPoolExecutor) -> None:
        self._path = path
        self._threads = threads
        self._descriptor = -1
        self._in_use = threading.Lock()  # a write that a cancellation left behind still needs the descriptor
        self._hash = hashlib.sha256()
        self._hashed_bytes = 0
        self._received_bytes = 0

    @property
    def received_bytes(self) -> int:
        """How long it is."""
        return self._received_bytes

    def open(self) -> None:
        """Open or create the file, and make sure that its name survives a loss of power."""
        with _translated():
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, 0o600)
            self._received_bytes = os.fstat(self._descriptor).st_size
            _sync_folder(self._path.parent)
            _sync_folder(self._path.parent.parent)

    async def append(self, data: bytes) -> None:
        """Add bytes; none are kept if there is no room for all."""
        await _in_thread(self._threads, lambda: self._append(data))

    async def sync(self) -> None:
        """Return once what was added survives a loss of power."""
        await _in_thread(self._threads, lambda: os.fsync(self._descriptor))

    async def digest(self) -> str:
        """Return the sha256 of the bytes, lower hex."""
        if self._hashed_bytes == self._received_bytes:
            return self._hash.hexdigest()
        return await _in_thread(self._threads, lambda: _digest(self._path))

    def close(self) -> None:
        """Close the file."""
        with self._in_use:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def _append(self, data: bytes) -> None:
        with self._in_use:
            self._write(data)
            if self._hashed_bytes == self._received_bytes:
                self._hash.update(data)
                self._hashed_bytes += len(data)
            self._received_bytes += len(data)

    def _write(self, data: bytes) -> None:
        written = 0
        try:
            while written < len(data):
                written += os.pwrite(self._descriptor, data[written:], self._received_bytes + written)
        except OSError:
            if self._descriptor >= 0:
                os.ftruncate(self._descriptor, self._received_bytes)
            raise


class StagingFiles:
    """Satisfies service.uploads.Staging. `async with StagingFiles.opened(folder) as staging`."""

    def __init__(self, folder: Path, threads: ThreadPoolExecutor) -> None:
        self._folder = folder
        self._threads = threads

    @classmethod
    @asynccontextmanager
    async def opened(cls, folder: Path) -> AsyncIterator[StagingFiles]:
        """Offer `folder` for the length of the block; what an earlier process staged in it is still there."""
        threads = ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="staging")
        try:
            await _in_thread(threads, lambda: folder.mkdir(mode=0o700, parents=True, exist_ok=True))
            yield cls(folder, threads)
        finally:
            await asyncio.to_thread(threads.shutdown)

    @asynccontextmanager
    async def appending(self, upload: Upload, index: int) -> AsyncIterator[OpenFile]:
        """Open one file of `upload`, creating it if need be."""
        file = OpenFile(self.path(upload, index), self._threads)
        try:
            await _in_thread(self._threads, file.open)
            yield file
        finally:
            # Waits for a write that a cancellation left behind, so that the next writer sees its bytes.
            await asyncio.wrap_future(self._threads.submit(file.close))

    async def received_bytes(self, upload: Upload) -> tuple[int, ...]:
        """Return how many bytes of each file are kept for sure."""
        paths = [self.path(upload, index) for index in range(len(upload.files))]
        return await _in_thread(self._threads, lambda: tuple(_synced_bytes(path) for path in paths))

    async def digest(self, upload: Upload, index: int) -> str:
        """Return the sha256 of what lies on disk, lower hex."""
        return await _in_thread(self._threads, lambda: _digest(self.path(upload, index)))

    async def discard(self, upload: Upload, index: int) -> None:
        """Forget the bytes of one file."""
        await _in_thread(self._threads, lambda: self.path(upload, index).unlink(missing_ok=True))

    async def remove(self, model_id: str, upload_id: str) -> None:
        """Forget all files of an Upload."""
        await _in_thread(self._threads, lambda: _remove(self._folder / f"{model_id}.{upload_id}"))

    async def list_uploads(self) -> Sequence[tuple[str, str]]:
        """Return model id and upload id of everything that is staged."""
        entries = await _in_thread(self._threads, lambda: os.listdir(self._folder))
        ids = [entry.partition(".") for entry in entries]
        return [(model, upload) for model, _, upload in ids if names.is_id(model) and names.is_id(upload)]

    async def free_bytes(self) -> int:
        """Return how many bytes there is room for."""
        return await _in_thread(self._threads, lambda: shutil.disk_usage(self._folder).free)

    def path(self, upload: Upload, index: int) -> Path:
        """Return where a file lies."""
        return self._folder / f"{upload.model_id}.{upload.upload_id}" / str(index)


async def _in_thread(threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    def translated() -> T:
        with _translated():
            return work()

    return await asyncio.get_running_loop().run_in_executor(threads, translated)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise OverloadedError(
                "the registry's disk is full; what has arrived is kept, go on when there is room again",
                reason="DISK_FULL",
                retry_after_s=RETRY_AFTER_S,
            ) from error
        raise UnavailableError("the registry's disk fails", reason="DISK_FAILED") from error


def _synced_bytes(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        # A process that was killed may have left bytes that are not on the disk yet.
        os.fsync(descriptor)
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def _digest(path: Path) -> str:
    # A file that was declared empty has never been written to: it is made here.
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove(folder: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

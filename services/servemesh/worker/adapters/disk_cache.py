"""Verified artifacts on the local disk: one folder per manifest digest, whole or not there, within a bound of bytes."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol, TypeVar

from servemesh.blobs.keys import blob_key
from servemesh.errors import DamagedError, MissingError, OverloadedError
from servemesh.observe import metrics, names
from servemesh.worker.adapters.artifact_folder import Entry, entries, is_intact, sync_folder
from servemesh.worker.domain.versions import Version

T = TypeVar("T")
ARTIFACTS, INCOMING = "artifacts", "incoming"
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class BlobReader(Protocol):
    """Where the files come from: the part of blobs.ports.BlobStore that a cache needs."""

    async def fetch_file(self, key: str, path: Path, *, sha256: str, size_bytes: int) -> None:
        """Copy a blob to a new file, verified."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """Where the cache is and what it may take."""

    folder: Path
    size_bytes_max: int
    spare_bytes: int = 16 * 1024 * 1024  # left free on the disk
    threads_max: int = 4


class DiskCache:
    """Satisfies loading.Artifacts. Open it with `async with DiskCache.running(settings, blobs) as cache`."""

    def __init__(self, settings: CacheSettings, blobs: BlobReader, threads: ThreadPoolExecutor) -> None:
        self._settings = settings
        self._blobs = blobs
        self._threads = threads
        self._artifacts = settings.folder / ARTIFACTS
        self._incoming = settings.folder / INCOMING
        self._locks: dict[str, asyncio.Lock] = {}
        self._holders: dict[str, int] = {}
        self._arriving_bytes: dict[str, int] = {}
        self._arrivals = 0
        self._room = asyncio.Lock()  # who looks for room finds what others have reserved
        self._eviction = threading.Lock()  # what is held is not evicted, what is evicted is not held

    @classmethod
    @asynccontextmanager
    async def running(cls, settings: CacheSettings, blobs: BlobReader) -> AsyncIterator[DiskCache]:
        """Offer the cache for the length of the block; what an earlier process left half done is removed."""
        threads = ThreadPoolExecutor(settings.threads_max, thread_name_prefix="cache")
        cache = cls(settings, blobs, threads)
        try:
            await cache._call(cache._prepare)
            await cache._show_used()
            yield cache
        finally:
            threads.shutdown(wait=False)

    async def used_bytes(self) -> int:
        """Return what the artifacts take on disk."""
        return await self._call(lambda: sum(entry.size_bytes for entry in entries(self._artifacts)))

    @asynccontextmanager
    async def holding(self, version: Version) -> AsyncIterator[Path]:
        """Offer the folder of a Version, fetched and verified; it is not evicted during the block."""
        digest = version.sha256
        blob_key(digest)  # a digest is the only thing that becomes a path
        with self._eviction:  # for no longer than it takes to rename a folder
            self._holders[digest] = self._holders.get(digest, 0) + 1
        try:
            async with self._locks.setdefault(digest, asyncio.Lock()):
                folder = self._artifacts / digest
                if not await self._call(lambda: is_intact(folder, version)):
                    await self._call(lambda: _removed(folder))
                    await self._fetch(version, folder)
                await self._call(lambda: os.utime(folder))
            yield folder
        finally:
            self._holders[digest] -= 1
            if not self._holders[digest]:
                del self._holders[digest]
                self._locks.pop(digest, None)

    async def _fetch(self, version: Version, folder: Path) -> None:
        self._arrivals += 1
        arriving = self._incoming / f"{version.sha256}.{self._arrivals}"
        try:
            async with self._room:
                await self._make_room(version)
                self._arriving_bytes[version.sha256] = version.size_bytes
            await self._call(lambda: arriving.mkdir(mode=0o700))
            for file in version.files:
                path = arriving / _relative(version, file.path)
                await self._call(lambda path=path: path.parent.mkdir(mode=0o700, parents=True, exist_ok=True))  # type: ignore[misc]
                await self._blobs.fetch_file(
                    blob_key(file.sha256), path, sha256=file.sha256, size_bytes=file.size_bytes
                )
            await self._call(lambda: _arrived(arriving, folder))
            await self._show_used()
        except OSError as error:
            if error.errno in NO_SPACE:
                raise _full(version, "DISK_FULL", "the disk is full") from error
            raise OverloadedError(
                f"{version.name} cannot be written to the cache", reason="CACHE_BROKEN", version=version.name
            ) from error
        except (DamagedError, MissingError) as error:
            raise _damaged(version) from error
        finally:
            self._arriving_bytes.pop(version.sha256, None)
            await self._call(lambda: _removed(arriving))

    async def _show_used(self) -> None:
        metrics.gauge(names.WORKER_CACHE_MAX).set(self._settings.size_bytes_max)
        metrics.gauge(names.WORKER_CACHE_USED).set(await self.used_bytes())

    async def _make_room(self, version: Version) -> None:
        """Evict what is not held, least recently used first, until the Version fits; else OverloadedError."""
        arriving_bytes = sum(self._arriving_bytes.values())
        limit_bytes = self._settings.size_bytes_max - arriving_bytes - version.size_bytes

        def fits(used_bytes: int) -> str:
            if used_bytes > limit_bytes:
                return "CACHE_FULL"
            free_bytes = shutil.disk_usage(self._artifacts).free - arriving_bytes
            return "" if free_bytes >= version.size_bytes + self._settings.spare_bytes else "DISK_FULL"

        reason = await self._call(lambda: self._evicted_until(fits))
        if reason:
            what = "the cache is full of versions in use" if reason == "CACHE_FULL" else "the disk is full"
            raise _full(version, reason, what)

    def _prepare(self) -> None:
        self._settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._settings.folder.chmod(0o700)
        _removed(self._incoming)
        self._incoming.mkdir(mode=0o700)
        self._artifacts.mkdir(mode=0o700, exist_ok=True)

    def _evicted_until(self, fits: Callable[[int], str]) -> str:
        """Remove entries until `fits` has nothing to say against it; return what it last said."""
        there = entries(self._artifacts)
        used_bytes = sum(entry.size_bytes for entry in there)
        for entry in sorted(there, key=_last_use):
            if not fits(used_bytes):
                break
            if self._evicted(entry.digest):
                used_bytes -= entry.size_bytes
        return fits(used_bytes)

    def _evicted(self, digest: str) -> bool:
        """Remove one entry, in one step for whoever looks; False if it is held."""
        leaving = self._incoming / f"{digest}.evicted"
        with self._eviction:
            if digest in self._holders:
                return False
            with suppress(FileNotFoundError):  # a search that was given up got there first
                (self._artifacts / digest).rename(leaving)
        _removed(leaving)
        return True

    async def _call(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _last_use(entry: Entry) -> float:
    return entry.used_at_s


def _arrived(arriving: Path, folder: Path) -> None:
    """Make a finished folder visible, in one step that survives a power cut."""
    sync_folder(arriving)
    arriving.rename(folder)
    sync_folder(folder.parent)


def _removed(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _relative(version: Version, path: str) -> PurePosixPath:
    relative = PurePosixPath(path)
    if relative.is_absolute() or not relative.parts or ".." in relative.parts or "\x00" in path:
        raise _damaged(version)
    return relative


def _damaged(version: Version) -> DamagedError:
    return DamagedError(
        f"the stored bytes of {version.name} are not those of its manifest; it is fetched again",
        reason="ARTIFACT_DAMAGED",
        version=version.name,
    )


def _full(version: Version, reason: str, what: str) -> OverloadedError:
    return OverloadedError(
        f"{version.name} needs {version.size_bytes} bytes in the worker's cache: {what}",
        reason=reason,
        version=version.name,
        size_bytes=version.size_bytes,
    )

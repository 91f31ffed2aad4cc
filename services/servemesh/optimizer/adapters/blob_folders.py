"""Brings files from the blob store into a folder: every byte verified, and only if there is room for all of them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from servemesh.blobs.ports import BlobStore
from servemesh.errors import DamagedError, OverloadedError
from servemesh.optimizer.domain.records import StoredFile


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSettings:
    """How much of the disk is left alone."""

    disk_free_bytes_min: int = 1024**3


class BlobFolders:
    """Satisfies fetching.StoredFiles: one file after the other, and never a whole one in memory."""

    def __init__(self, blobs: BlobStore, settings: FolderSettings) -> None:
        self._blobs = blobs
        self._settings = settings

    async def fetch(self, files: Sequence[StoredFile], folder: Path) -> None:
        """Copy `files` to their paths below `folder`.

        OverloadedError DISK_FULL if there is no room, before anything is fetched; DamagedError if the store gives
        other bytes than were stored; MissingError if it has them no more.
        """
        targets = [_inside(folder, file.path) for file in files]
        await asyncio.to_thread(self._check_room, sum(file.size_bytes for file in files), folder)
        for file, target in zip(files, targets, strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            await self._blobs.fetch_file(file.key, target, sha256=file.sha256, size_bytes=file.size_bytes)

    def _check_room(self, size_bytes: int, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        free_bytes = max(shutil.disk_usage(folder).free - self._settings.disk_free_bytes_min, 0)
        if size_bytes > free_bytes:
            raise OverloadedError(
                f"the files have {size_bytes} bytes, the optimizer's disk has room for {free_bytes}",
                reason="DISK_FULL",
                retry_after_s=60.0,
                expected=free_bytes,
                got=size_bytes,
            )


def _inside(folder: Path, path: str) -> Path:
    """Return where a file goes; DamagedError if what was stored names a place outside the folder."""
    parts = Path(path).parts
    if not parts or ".." in parts or Path(path).is_absolute():
        raise DamagedError(
            f"the stored files name {path[:255]!r}, outside their folder", reason="PATH_OUTSIDE"
        )
    return folder / path

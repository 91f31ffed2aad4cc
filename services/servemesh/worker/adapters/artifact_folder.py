"""One artifact on disk: whether it is exactly what its manifest says, and what it takes."""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from servemesh.worker.domain.versions import ArtifactFile, Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An artifact in the cache, by the digest of its manifest."""

    digest: str
    size_bytes: int
    used_at_s: float


def entries(artifacts: Path) -> list[Entry]:
    """Return what is in the cache, without what leaves it meanwhile."""
    found = []
    for folder in artifacts.iterdir():
        with suppress(FileNotFoundError):
            if folder.is_dir() and not folder.is_symlink():
                size_bytes, used_at_s = _size_bytes(folder), folder.stat().st_mtime
                found.append(Entry(digest=folder.name, size_bytes=size_bytes, used_at_s=used_at_s))
    return found


def is_intact(folder: Path, version: Version) -> bool:
    """Whether the folder holds the files of the manifest, byte for byte, and nothing else."""
    if not folder.is_dir() or folder.is_symlink():
        return False
    found = {
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()
    }
    if found != {file.path for file in version.files}:
        return False
    return all(_is_intact_file(folder / file.path, file) for file in version.files)


def sync_folder(folder: Path) -> None:
    """Sync the entries of a folder and of those under it to disk."""
    for path, _, _ in os.walk(folder, topdown=False):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _is_intact_file(path: Path, file: ArtifactFile) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        # A second link would let somebody change the bytes from outside this folder.
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1 or status.st_size != file.size_bytes:
            return False
        return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256


def _size_bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())

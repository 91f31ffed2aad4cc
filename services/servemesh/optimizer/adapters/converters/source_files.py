"""Takes of each file of a source what tells its format: its beginning, and the names in it if it is an archive."""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path

from servemesh.errors import InvalidError
from servemesh.formats import HEAD_BYTES, FileSample
from servemesh.optimizer.domain.sources import SourceFile

FILES_MAX = 10_000
TEXT_BYTES_MAX = 1024**2


def samples(source: Path) -> list[SourceFile]:
    """Return what is in `source`, a file or a folder; InvalidError for links and for nothing."""
    paths = sorted(path for path in source.rglob("*") if not path.is_dir()) if source.is_dir() else [source]
    if not 1 <= len(paths) <= FILES_MAX:
        raise InvalidError(
            f"the source has {len(paths)} files, expected 1 to {FILES_MAX}",
            reason="SOURCE_UNSUPPORTED",
            field="source",
        )
    root = source if source.is_dir() else source.parent
    return [_sampled(path, path.relative_to(root).as_posix()) for path in paths]


def _sampled(path: Path, name: str) -> SourceFile:
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise InvalidError(f"{name} is a link, expected plain files", reason="LINK_REFUSED", field=name)
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        is_text = name.endswith(".json") and found.st_size <= TEXT_BYTES_MAX
        texts = {"": head + file.read()} if is_text else {}
        members = _members(path) if head.startswith(b"PK") else ()
    size_bytes = os.stat(path).st_size
    sample = FileSample(path=name, size_bytes=size_bytes, head=head, members=members)
    return SourceFile(sample=sample, texts=texts)


def _members(path: Path) -> tuple[str, ...]:
    try:
        with zipfile.ZipFile(path) as archive:
            return tuple(archive.namelist()[:FILES_MAX])
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return ()

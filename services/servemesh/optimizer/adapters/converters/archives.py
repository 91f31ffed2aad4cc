"""Zip archives that strangers gave: opened only if they stay inside themselves and inside bounds."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from servemesh.errors import InvalidError

MEMBERS_MAX = 20_000
UNPACKED_BYTES_MAX = 64 * 1024**3
RATIO_MAX = 200  # unpacked ÷ packed; zeros pack better, programs do not
SMALL_BYTES = 64 * 1024**2  # an archive that unpacks to less may be packed as tightly as it likes
TEXT_BYTES_MAX = 512 * 1024**2
CHUNK_BYTES = 1024**2


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive whose members are checked; InvalidError with reason ARCHIVE_REFUSED if it is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            _check(archive)
            yield archive
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise _refused("it is damaged or no zip archive", "") from error


def read(archive: zipfile.ZipFile, name: str, bytes_max: int = TEXT_BYTES_MAX) -> bytes:
    """Return a member of at most `bytes_max`."""
    with member(archive, name, bytes_max) as file:
        return file.read()


@contextmanager
def member(archive: zipfile.ZipFile, name: str, bytes_max: int) -> Iterator[IO[bytes]]:
    """Open a member of at most `bytes_max` for reading; what is read beyond its stated size is an error of zipfile."""
    try:
        info = archive.getinfo(name)
    except KeyError as error:
        raise _refused("a member is missing", name) from error
    if info.file_size > bytes_max:
        raise _refused(f"a member unpacks to more than {bytes_max} bytes", name)
    with archive.open(info) as file:
        yield file


def _check(archive: zipfile.ZipFile) -> None:
    members = archive.infolist()
    if len(members) > MEMBERS_MAX:
        raise _refused(f"it has {len(members)} members, at most {MEMBERS_MAX} are read", "")
    seen: set[str] = set()
    for info in members:
        name = info.filename
        parts = name.rstrip("/").split("/")
        if (
            not name
            or name.startswith("/")
            or "\\" in name
            or ":" in parts[0]
            or {"", ".", ".."} & set(parts)
        ):
            raise _refused("a member has a path that leads out of the archive", name)
        if stat.S_ISLNK(info.external_attr >> 16):
            raise _refused("a member is a link", name)
        if info.flag_bits & 0x1:
            raise _refused("a member is encrypted", name)
        if name in seen:
            raise _refused("two members have the same name", name)
        seen.add(name)
    unpacked = sum(info.file_size for info in members)
    packed = sum(info.compress_size for info in members)
    if unpacked > UNPACKED_BYTES_MAX or unpacked > max(SMALL_BYTES, RATIO_MAX * packed):
        raise _refused(f"it unpacks to {unpacked} bytes from {packed}", "")


def _refused(why: str, name: str) -> InvalidError:
    shown = name[:100]
    return InvalidError(
        f"the archive is refused: {why}{f' ({shown})' if shown else ''}. Save it again with its framework",
        reason="ARCHIVE_REFUSED",
        field=shown,
    )

"""What may be uploaded as a Source: how much, under which paths, and under which name it is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from servemesh.artifact_paths import check_digest, check_distinct, check_path
from servemesh.errors import InvalidError, OverloadedError


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadLimits:
    """How much one Source may hold, and in which pieces it comes."""

    bytes_max: int = 16 * 1024**3
    files_max: int = 4_096
    piece_bytes_max: int = 1024**2
    disk_free_bytes_min: int = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredFile:
    """One file to come; `sha256` is empty where the sender does not say."""

    path: str
    size_bytes: int
    sha256: str = ""


def check_declared(files: Sequence[DeclaredFile], limits: UploadLimits) -> None:
    """InvalidError or OverloadedError that says what is wrong, before any byte comes."""
    if not files:
        raise InvalidError(
            "source.files is empty, expected at least one file", reason="UPLOAD_EMPTY", field="source.files"
        )
    if len(files) > limits.files_max:
        raise _too_much("files", len(files), limits.files_max, "UPLOAD_FILES_MAX")
    for index, file in enumerate(files):
        field = f"source.files[{index}]"
        if file.size_bytes < 0:
            raise InvalidError(
                f"{field}.size_bytes is {file.size_bytes}, expected 0 or more",
                reason="UPLOAD_SIZE_NEGATIVE",
                field=f"{field}.size_bytes",
                expected="0 or more",
                got=file.size_bytes,
            )
        check_path(file.path, f"{field}.path")
        check_digest(file.sha256, f"{field}.sha256")
    check_distinct([file.path for file in files], "source.files")
    size_bytes = sum(file.size_bytes for file in files)
    if size_bytes > limits.bytes_max:
        raise _too_much("bytes", size_bytes, limits.bytes_max, "UPLOAD_BYTES_MAX")


def source_digest(files: Sequence[tuple[str, str]]) -> str:
    """Digest over "{sha256}  {path}\\n" of each (path, sha256) in path order, lower hex."""
    lines = [f"{sha256}  {path}\n" for path, sha256 in sorted(files)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _too_much(what: str, got: int, most: int, reason: str) -> OverloadedError:
    return OverloadedError(
        f"the source has {got} {what}, at most {most} are taken",
        reason=reason,
        retry_after_s=None,
        field="source.files",
        expected=most,
        got=got,
    )

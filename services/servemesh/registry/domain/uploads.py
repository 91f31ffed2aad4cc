"""An Upload: the files that will become a Version, how much may come, and which paths they may have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from servemesh import names
from servemesh.artifact_paths import PATH_BYTES_MAX, check_digest, check_distinct, check_path
from servemesh.errors import ConflictError, InvalidError, MissingError, OverloadedError
from servemesh.registry.domain.models import ArtifactFile

SOURCES_MAX = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadLimits:
    """How much one Upload may hold, in which pieces it comes, how long it may lie idle, and how many are open."""

    bytes_max: int = 16 * 1024**3
    files_max: int = 1_024
    open_max: int = 256
    piece_bytes_max: int = 1024**2
    disk_free_bytes_min: int = 1024**3
    idle_max: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """Files on their way to become a Version. `version_id` is set once they have; it never changes then."""

    model_id: str
    upload_id: str
    files: tuple[ArtifactFile, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    source_versions: tuple[str, ...] = ()
    create_time: datetime
    expire_time: datetime
    version_id: int | None = None
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`models/{model}/uploads/{upload}`."""
        return names.upload(self.model_id, self.upload_id)

    @property
    def size_bytes(self) -> int:
        """Sum over the declared files."""
        return sum(file.size_bytes for file in self.files)

    def index_of(self, path: str) -> int:
        """Place of the file at `path` among the files; MissingError if it was not declared."""
        for index, file in enumerate(self.files):
            if file.path == path:
                return index
        raise MissingError(
            f"{self.name} has no file {path[:PATH_BYTES_MAX]!r}; declare every file when the upload is created",
            reason="UPLOAD_FILE_UNKNOWN",
            name=self.name,
            path=path[:PATH_BYTES_MAX],
        )

    def is_whole(self, index: int, digest: str) -> bool:
        """Whether `digest` is the one that was declared for the file, if one was."""
        return self.files[index].sha256 in ("", digest)

    def with_digests(self, digests: Sequence[str]) -> Upload:
        """Return this Upload with the digest of each file filled in."""
        files = tuple(replace(file, sha256=digest) for file, digest in zip(self.files, digests, strict=True))
        return replace(self, files=files)


def checked_files(files: Sequence[ArtifactFile], limits: UploadLimits) -> tuple[ArtifactFile, ...]:
    """Return `files` if they can make an Upload; InvalidError or OverloadedError that says what is wrong."""
    if not files:
        raise InvalidError(
            "upload.files is empty, expected at least one file", reason="UPLOAD_EMPTY", field="upload.files"
        )
    _check_sizes(files, limits)
    for index, file in enumerate(files):
        check_path(file.path, f"upload.files[{index}].path")
        check_digest(file.sha256, f"upload.files[{index}].sha256")
    check_distinct([file.path for file in files], "upload.files")
    return tuple(files)


def checked_sources(source_versions: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the Versions that a new one was made from, each once; InvalidError if one is malformed."""
    if len(source_versions) > SOURCES_MAX:
        raise InvalidError(
            f"upload.source_versions has {len(source_versions)} names, at most {SOURCES_MAX} are taken",
            reason="SOURCES_MAX",
            field="upload.source_versions",
            expected=SOURCES_MAX,
            got=len(source_versions),
        )
    return tuple(names.version(*names.version_ids(name)) for name in dict.fromkeys(source_versions))


def _check_sizes(files: Sequence[ArtifactFile], limits: UploadLimits) -> None:
    if len(files) > limits.files_max:
        raise OverloadedError(
            f"the upload has {len(files)} files, at most {limits.files_max} are taken",
            reason="UPLOAD_FILES_MAX",
            field="upload.files",
            expected=limits.files_max,
            got=len(files),
        )
    for index, file in enumerate(files):
        if file.size_bytes < 0:
            raise InvalidError(
                f"upload.files[{index}].size_bytes is {file.size_bytes}, expected 0 or more",
                reason="UPLOAD_SIZE_NEGATIVE",
                field=f"upload.files[{index}].size_bytes",
                expected="0 or more",
                got=file.size_bytes,
            )
    size_bytes = sum(file.size_bytes for file in files)
    if size_bytes > limits.bytes_max:
        raise OverloadedError(
            f"the upload has {size_bytes} bytes, at most {limits.bytes_max} are taken",
            reason="UPLOAD_BYTES_MAX",
            field="upload.files",
            expected=limits.bytes_max,
            got=size_bytes,
        )


def checked_offset(upload: Upload, index: int, *, offset: int, received: int) -> None:
    """ConflictError OFFSET_MISMATCH unless the next byte of the file is the one at `offset`."""
    if offset != received:
        raise ConflictError(
            f"offset_bytes is {offset}, but {received} bytes of {upload.files[index].path!r} are kept: "
            "read the upload and go on from received_bytes",
            reason="OFFSET_MISMATCH",
            field="offset_bytes",
            expected=received,
            got=offset,
        )

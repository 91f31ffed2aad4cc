"""Models, their immutable Versions and what a Version holds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from servemesh import names


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactFile:
    """One file of an artifact. `sha256` is lower hex, empty only while an Upload has not declared it."""

    path: str
    size_bytes: int
    sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """Name, OIP datatype and shape of one tensor; -1 where any size is taken."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    batch_axis: int | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a Version takes and gives."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batchable: bool
    format: str
    ir_version: int
    opsets: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A named thing that is served. `revision` counts its changes."""

    model_id: str
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    latest_version_id: int = 0
    create_time: datetime
    update_time: datetime
    revision: int

    @property
    def name(self) -> str:
        """`models/{model}`."""
        return names.model(self.model_id)

    @property
    def etag(self) -> str:
        """Changes with every change of the Model."""
        return str(self.revision)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One immutable artifact of a Model; it exists only once its bytes are verified."""

    model_id: str
    version_id: int
    files: tuple[ArtifactFile, ...]
    entry_path: str
    signature: Signature
    labels: Mapping[str, str] = field(default_factory=dict)
    source_versions: tuple[str, ...] = ()
    request_id: str = ""  # of the commit that made it, if it had one
    create_time: datetime

    @property
    def name(self) -> str:
        """`models/{model}/versions/{version}`."""
        return names.version(self.model_id, self.version_id)

    @property
    def size_bytes(self) -> int:
        """Sum over the files."""
        return sum(file.size_bytes for file in self.files)

    @property
    def sha256(self) -> str:
        """Digest of the manifest."""
        return manifest_sha256(self.files)


def manifest_sha256(files: Iterable[ArtifactFile]) -> str:
    """Digest over "{sha256}  {path}\\n" of each file in path order, lower hex."""
    lines = sorted((file.path, f"{file.sha256}  {file.path}\n") for file in files)
    return hashlib.sha256("".join(line for _, line in lines).encode()).hexdigest()

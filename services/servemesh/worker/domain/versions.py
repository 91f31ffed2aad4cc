"""A Version as a worker needs it: what to fetch, what to open, what it takes and gives."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """Name, OIP datatype and shape of one tensor. -1 where any size is taken; no shape for a scalar."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    batch_axis: int | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a Version takes and gives. `batchable`: axis 0 of every tensor is the batch."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batchable: bool = False
    format: str = "onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """How calls are put together; 0 means the worker's default."""

    batch_rows_max: int = 0
    linger_s: float = 0.0
    queue_rows_max: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactFile:
    """One file of an artifact, by relative path."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One immutable artifact. `sha256` is the digest of its manifest: equal digests mean equal files."""

    name: str  # models/{model}/versions/{version}
    model: str
    version_id: int
    sha256: str
    files: tuple[ArtifactFile, ...]
    entry_path: str
    signature: Signature

    @property
    def size_bytes(self) -> int:
        """Sum over the files."""
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignedVersion:
    """A Version that this worker should hold, and the names by which calls reach it."""

    version: Version
    is_default: bool = False
    aliases: tuple[str, ...] = ()
    batching: Batching = Batching()

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """Every (model name, version name) that it answers to."""
        model = self.version.model
        names = [str(self.version.version_id), *self.aliases]
        if self.is_default:
            names.append("")
        return tuple((model, name) for name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What this worker should hold, in order of importance. `revision` rises with every change."""

    revision: int
    versions: tuple[AssignedVersion, ...] = ()

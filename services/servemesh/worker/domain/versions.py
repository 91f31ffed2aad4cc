"""A Version as a worker needs it: what to fetch, what to open, and the names that calls reach it by."""

from __future__ import annotations

from dataclasses import dataclass, replace

from servemesh.worker.domain.batching import BatchPolicy
from servemesh.worker.domain.signature import Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """How calls are to be put together; 0 means the worker's default."""

    batch_rows_max: int = 0
    linger_s: float = 0.0
    queue_rows_max: int = 0

    def policy(self, defaults: BatchPolicy) -> BatchPolicy:
        """Return the policy of a slot: what was wished, and the worker's defaults for the rest."""
        return replace(
            defaults,
            rows_max=self.batch_rows_max or defaults.rows_max,
            linger_s=self.linger_s or defaults.linger_s,
            queue_rows_max=self.queue_rows_max or defaults.queue_rows_max,
        )


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

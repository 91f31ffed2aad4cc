"""A model on disk: one file, or for a large one two, of which the second holds the weights."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from servemesh.optimizer.domain.uploading import source_digest

WEIGHTS = ".data"
"""What the name of the second file adds to that of the first, which refers to it by that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """One file of a model: what its name adds to the model's, and its content."""

    suffix: str
    sha256: str
    size_bytes: int


def files_of(model: Path) -> tuple[ModelFile, ...]:
    """Return the files of a model, each with its digest."""
    suffixes = ("", WEIGHTS) if beside(model, WEIGHTS).exists() else ("",)
    return tuple(_digested(model, suffix) for suffix in suffixes)


def beside(model: Path, suffix: str) -> Path:
    """Return where the file of a model lies."""
    return model.with_name(model.name + suffix)


def digest_of(model: Path) -> str:
    """Return the digest of a model, lower hex: of its file, or of all of them."""
    return joint_digest(files_of(model))


def joint_digest(files: tuple[ModelFile, ...]) -> str:
    """Return the sha256 of the only file, or a digest over those of several."""
    if len(files) == 1:
        return files[0].sha256
    return source_digest([(f"model{file.suffix}", file.sha256) for file in files])


def _digested(model: Path, suffix: str) -> ModelFile:
    with beside(model, suffix).open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return ModelFile(suffix=suffix, sha256=sha256, size_bytes=file.tell())

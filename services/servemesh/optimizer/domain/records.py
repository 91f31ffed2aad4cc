"""What the optimizer keeps: jobs with what was asked and found, their logs, Sources, Datasets and facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from servemesh import names
from servemesh.optimizer.domain.datasets import Column
from servemesh.optimizer.domain.jobs import Job
from servemesh.optimizer.domain.results import JobResult
from servemesh.optimizer.domain.specs import JobSpec
from servemesh.optimizer.domain.splits import Shares


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A job with what it is to do and what it has found."""

    job: Job
    spec: JobSpec
    result: JobResult | None = None

    @property
    def name(self) -> str:
        """The job's."""
        return self.job.name


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of a job's log. `row_id` rises in the order of writing and is 0 until it is kept."""

    row_id: int = 0
    log_time: datetime
    epoch: int
    text: str


BLOBS = "optimizer/"
"""Where the optimizer's blobs lie: the registry, which deletes blobs that no Version needs, does not look there."""


def blob_key(owner: str, number: int) -> str:
    """Key of an owner's blob; what has no owner any more is deleted."""
    return f"{BLOBS}{owner}/{number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """One file: its path in the Source or the data folder, and the blob that holds its bytes."""

    path: str
    size_bytes: int
    sha256: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Files that a user gave. `use_time` is when they were last needed."""

    digest: str
    owner: str  # of its blobs: another one each time that the Source is uploaded anew
    files: tuple[StoredFile, ...]
    use_time: datetime

    @property
    def name(self) -> str:
        """`sources/{digest}`."""
        return names.source(self.digest)

    @property
    def size_bytes(self) -> int:
        """Sum over the files."""
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Rows of named columns, read once and kept as a data folder: `files` are those of that folder."""

    dataset_id: str
    source: str
    label_columns: tuple[str, ...] = ()
    shares: Shares
    format: str
    columns: tuple[Column, ...]
    row_count: int
    size_bytes: int
    owner: str  # of its blobs
    files: tuple[StoredFile, ...]
    create_time: datetime

    @property
    def name(self) -> str:
        """`datasets/{dataset}`."""
        return names.dataset(self.dataset_id)


class FactKind(StrEnum):
    """What happened to a job, as it stands in the NATS subject."""

    QUEUED = "queued"
    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something that happened to a job; kept until the broker has it. `revision` counts up per job."""

    event_id: str
    kind: FactKind
    job: str
    noun: str
    revision: int
    occur_time: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FactRow:
    """A fact on its way to the broker."""

    row_id: int
    event_id: str
    subject: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPass:
    """The output of a finished step: its model's blobs, and what the step answered.

    The paths of `files` are what their names add to that of the model: nothing, or ".data" for weights beside it.
    """

    cache_key: str
    sha256: str
    size_bytes: int
    owner: str  # of its blobs
    files: tuple[StoredFile, ...]
    answer: Mapping[str, Any]
    use_time: datetime

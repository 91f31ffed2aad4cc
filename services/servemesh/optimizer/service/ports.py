"""What the use cases that make Versions need of each other and of the world: names that all parts agree on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from servemesh.optimizer.domain.results import JobResult
from servemesh.optimizer.domain.specs import JobSpec
from servemesh.optimizer.domain.work import WorkLimits

OnProgress = Callable[[float, str], None]  # share of the task that is done, 0 to 1, and the step in words
OnLog = Callable[[str], None]


class Folders(Protocol):
    """Empty folders on this machine's disk, for work that is not finished."""

    def opened(self) -> AbstractAsyncContextManager[Path]:
        """Give one for the length of the block; it is removed afterwards with all that is in it."""


class ChildTasks(Protocol):
    """Runs heavy steps in child processes. Cancelling the call kills the child with all that it started."""

    async def run(
        self,
        task: str,
        arguments: Mapping[str, Any],
        folder: Path,
        limits: WorkLimits,
        on_progress: OnProgress,
        on_log: OnLog,
    ) -> dict[str, Any]:
        """Run "pass", "convert", "examine" or "measure" in `folder` (paths in `arguments` are relative to it).

        The typed error of the child, or MEMORY_EXCEEDED, TIME_EXCEEDED, PASS_CRASHED.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedVersion:
    """A Version in a folder: `entry` is the model file's path in it, relative."""

    name: str
    entry: str
    sha256: str  # of the Version, as ModelVersion.sha256
    size_bytes: int
    labels: Mapping[str, str]


class Versions(Protocol):
    """The registry, as far as jobs need it. UnavailableError while it is away."""

    async def resolve(self, name: str) -> str:
        """The Version's name for that of a Version or an Alias; MissingError if there is none."""

    async def fetch(self, version: str, folder: Path) -> FetchedVersion:
        """Copy the files of a Version into `folder`, verified."""

    async def register(
        self,
        model: str,
        folder: Path,
        *,
        source_versions: Sequence[str],
        labels: Mapping[str, str],
        request_id: str,
    ) -> str:
        """Make the files of `folder` a new Version of `models/{model}` and return its name.

        The same request_id (a UUID) gives the same Version, however often it is asked.
        """

    async def set_alias(self, alias: str, version: str) -> None:
        """Point `models/{model}/aliases/{alias}` to a Version."""


class PassCache(Protocol):
    """Outputs of finished steps, by the digest of all that they depend on. What is lost is made again."""

    async def get(self, key: str, target: Path) -> dict[str, Any] | None:
        """Write the model kept under `key` to the new file `target` and return what its step answered."""

    async def put(self, key: str, source: Path, answer: Mapping[str, Any]) -> str:
        """Keep a model with what its step answered, and return the sha256 of the model's bytes."""

    async def fetch(self, sha256: str, target: Path) -> None:
        """Write the kept model with that digest to the new file `target`; MissingError if it is not kept."""


class Datasets(Protocol):
    """Rows for jobs."""

    async def fetch(self, dataset: str, folder: Path) -> str:
        """Write the data folder of `datasets/{dataset}` into `folder`; returns the digest of its content and split."""


class Sources(Protocol):
    """Files that users gave."""

    async def fetch(self, source: str, folder: Path) -> None:
        """Copy the files of `sources/{digest}` into `folder`, verified."""


class JobProgress(Protocol):
    """How a running job tells where it stands. Nothing of it waits, but `decide`."""

    def progress(self, share: float, step: str) -> None:
        """So much of the job is done, 0 to 1, and this is being done now."""

    def log(self, text: str) -> None:
        """A line of the job's log."""

    def found(self, result: JobResult) -> None:
        """What is known so far; kept when the job fails."""

    async def decide(self, result: JobResult) -> None:
        """Nothing but registering is left to do: write the decision down, models by sha256 in the PassCache.

        From here on the job can no longer be cancelled, and another optimizer that takes it over gets `result` as
        `RunningJob.decided` and does not decide again. Raises if the job is cancelled or another optimizer's.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningJob:
    """A job that this process works on. `folder` is empty at the start and removed afterwards.

    `left_s` is the time that it had left when it was taken: less than its limit for one that is taken up again.
    """

    name: str
    epoch: int
    folder: Path
    decided: JobResult | None
    left_s: float

    @property
    def job_id(self) -> str:
        """The last part of the name."""
        return self.name.rpartition("/")[2]


class JobRunner(Protocol):
    """Does the jobs of one kind."""

    async def run(self, job: RunningJob, spec: JobSpec, progress: JobProgress) -> JobResult:
        """Work until there is a result, all registering included; raise a typed error if there can be none.

        Cancelled when somebody cancels the job, when its time is up, or when the lease is lost.
        """

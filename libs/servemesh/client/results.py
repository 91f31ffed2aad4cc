"""What the SDK hands back: plain values, all times in UTC."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InferResult(Mapping[str, np.ndarray]):
    """The answer to one inference: a mapping from output name to array, in the order of the model.

    The arrays may be read-only views of the received message; copy one to change it.
    """

    outputs: Mapping[str, np.ndarray] = field(repr=False)
    model: str
    version: str
    """Id of the Version that answered."""
    id: str
    parameters: Mapping[str, bool | int | float | str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.outputs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.outputs)

    def __len__(self) -> int:
        return len(self.outputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A named thing that is served."""

    model: str
    description: str
    labels: Mapping[str, str]
    latest_version: int
    """Id of the newest Version, 0 while there is none."""
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """Name, OIP datatype and shape of an input or output; -1 where any size is taken."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file of a Version."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One immutable artifact of a Model."""

    model: str
    version: int
    size_bytes: int
    sha256: str
    files: tuple[File, ...]
    entry_path: str
    """The file that the runtime opens, one of `files`."""
    format: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    batchable: bool
    labels: Mapping[str, str]
    source_versions: tuple[str, ...]
    """The Versions it was made from, as `models/{model}/versions/{version}`."""
    create_time: datetime
    warnings: tuple[str, ...] = ()
    """What to know although the model was accepted; given by `push` only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A name that points to a Version."""

    model: str
    alias: str
    version: int
    update_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasMove:
    """Where an Alias pointed from `move_time` on; None if it was deleted then."""

    version: int | None
    move_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """A share of the calls that name no version. `target` is a version id or an alias."""

    target: str
    weight_percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """The wish that a Model be served, and what has come of it. `state` is PENDING, READY or FAILED."""

    model: str
    state: str
    traffic: tuple[Traffic, ...]
    replicas: int | None
    """Workers that should hold it; None leaves it to the mesh."""
    ready_replicas: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The place of one Version in one worker: UNLOADED, LOADING, WARMING, READY, DRAINING or FAILED."""

    model: str
    version: int
    state: str
    is_default: bool
    aliases: tuple[str, ...]
    memory_bytes: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A process that holds Versions and runs them. `state` is ACTIVE or DRAINING."""

    worker: str
    address: str
    state: str
    memory_bytes_max: int
    providers: tuple[str, ...]
    slots: tuple[Slot, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How the mesh is. `away` names the parts that did not answer; what they know is then empty."""

    ready: bool
    server: str
    server_version: str
    workers: tuple[Worker, ...]
    deployments: tuple[Deployment, ...]
    away: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What a Version has done since the mesh saw it first. Durations are sums over calls, in seconds."""

    model: str
    version: str
    calls: int
    failures: int
    rows: int
    batches: int
    duration_s: float
    queue_s: float
    compute_s: float

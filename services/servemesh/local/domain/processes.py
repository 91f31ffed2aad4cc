"""What the supervisor knows of a process and of the mesh, and how that is written to runtime.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum


class Stage(IntEnum):
    """When a process is stopped: all of a stage have stopped before the next stage is told to."""

    WORKERS = 1
    EDGE = 2
    REGISTRY = 3
    STORES = 4


class State(StrEnum):
    """Where a process, or the mesh, stands."""

    WAITING = "WAITING"
    STARTING = "STARTING"
    READY = "READY"
    DEGRADED = "DEGRADED"
    """Of the mesh only: it was READY, and some process is on its way back."""
    RESTING = "RESTING"
    """Of a worker: it is not needed now, and does not run or is ending."""
    BACKOFF = "BACKOFF"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """One process of the mesh: how it is started, when it is ready, when it is stopped."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    address: str
    stage: Stage
    ready_url: str | None = None
    """GET answers 200 once the process serves; None: it logs the event `ready`."""
    health_url: str | None = None
    """GET answers 200 as long as the process is well; None: it is well while it lives."""
    members_url: str | None = None
    """Page of counters that tell how many upstream hosts it knows and has found well: it is READY only once it has
    found all of them well, or after some seconds; None: it is READY as soon as it serves."""
    metrics_url: str | None = None
    needs_file: str | None = None
    """Started only once this file exists."""
    niceness: int = 0
    """How much it gives way to the others where all want the processors, 0 to 19."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStatus:
    """One process as `servemesh status` shows it."""

    name: str
    address: str
    state: State = State.WAITING
    pid: int | None = None
    restarts: int = 0
    log: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshStatus:
    """The local mesh as a whole: the content of runtime.json."""

    pid: int
    start_time: str
    data_dir: str
    address: str
    metrics_address: str
    http_address: str = ""
    console_address: str = ""
    """Empty where the metrics service is not installed."""
    state: State = State.STARTING
    error: str = ""
    processes: tuple[ProcessStatus, ...] = ()

    def with_process(self, name: str, **changes: object) -> MeshStatus:
        """Return this status with one process changed, and the state of the whole derived anew."""
        processes = tuple(
            replace(process, **changes) if process.name == name else process  # type: ignore[arg-type]
            for process in self.processes
        )
        return replace(self, processes=processes, state=_whole(self.state, processes))


def _whole(state: State, processes: tuple[ProcessStatus, ...]) -> State:
    if state in (State.STOPPING, State.STOPPED, State.FAILED):
        return state
    if all(process.state in (State.READY, State.RESTING) for process in processes):
        return State.READY
    return State.STARTING if state is State.STARTING else State.DEGRADED

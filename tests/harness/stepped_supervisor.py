"""A supervisor whose processes live and die, and whose pages answer, as the test says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from servemesh.local.domain.liveness import Patience
from servemesh.local.domain.plan import MeshPlan
from servemesh.local.domain.processes import MeshStatus, ProcessSpec, ProcessStatus, Stage, State
from servemesh.local.domain.restarts import RestartPolicy
from servemesh.local.service import Supervisor, Timing
from tests.harness.waiting import eventually

READY_LINE = b'{"event": "ready", "address": "127.0.0.1:1"}'


class SteppedProcess:
    """A process that ends when the test, or a signal, says so."""

    def __init__(self, pid: int, on_line: Callable[[bytes], None], *, obeys: bool) -> None:
        self.pid = pid
        self.say = on_line
        self.signals: list[str] = []
        self._obeys = obeys
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def wait(self) -> int:
        return await asyncio.shield(self._code)

    def end(self, code: int) -> None:
        if not self._code.done():
            self._code.set_result(code)

    def terminate(self) -> None:
        self.signals.append("TERM")
        if self._obeys:
            self.end(0)

    def kill(self) -> None:
        self.signals.append("KILL")
        self.end(-9)


class SteppedLauncher:
    """Starts stepped processes and remembers them in order."""

    def __init__(self, *, stubborn: tuple[str, ...] = (), doomed: tuple[str, ...] = ()) -> None:
        self.started_ones: list[tuple[str, SteppedProcess]] = []
        self._stubborn = stubborn
        self._doomed = doomed

    @asynccontextmanager
    async def started(
        self, spec: ProcessSpec, on_line: Callable[[bytes], None]
    ) -> AsyncIterator[SteppedProcess]:
        number = len(self.started_ones) + 1
        process = SteppedProcess(number, on_line, obeys=spec.name not in self._stubborn)
        self.started_ones.append((spec.name, process))
        if spec.name in self._doomed:
            process.end(1)
        yield process

    def latest(self, name: str) -> SteppedProcess:
        return [process for known, process in self.started_ones if known == name][-1]

    def starts(self, name: str) -> int:
        return sum(known == name for known, _ in self.started_ones)


class MemoryProbe:
    """Pages that answer and files that exist, as the test says."""

    def __init__(self) -> None:
        self.pages: set[str] = set()
        self.well: set[str] = set()
        self.asked_for_members = asyncio.Event()
        self.files: set[str] = set()
        self.posted: list[str] = []

    def has_file(self, path: str) -> bool:
        return path in self.files

    async def is_ready(self, url: str) -> bool:
        return url in self.pages

    async def has_well_members(self, url: str) -> bool:
        self.asked_for_members.set()
        return url in self.well

    async def post(self, url: str) -> None:
        self.posted.append(url)


def a_spec(name: str, stage: Stage, **urls_and_files: str) -> ProcessSpec:
    return ProcessSpec(name=name, command=(name,), address=name, stage=stage, **urls_and_files)  # type: ignore[arg-type]


STORE = a_spec("store", Stage.STORES, ready_url="http://store", health_url="http://well")
WORKER = a_spec("worker", Stage.WORKERS)
EDGE = a_spec("edge", Stage.EDGE, needs_file="bootstrap")


class Run:
    """One supervisor at work."""

    def __init__(
        self,
        *specs: ProcessSpec,
        launcher: SteppedLauncher | None = None,
        ready_s: float = 60,
        settle_s: float = 60,
        resting: frozenset[str] = frozenset(),
    ) -> None:
        self.launcher = launcher or SteppedLauncher()
        self.probe = MemoryProbe()
        self.history: list[MeshStatus] = []
        self.stop = asyncio.Event()
        plan = MeshPlan(processes=specs, files={}, folders=(), stale=(Path("x"),), drain_url="http://drain")
        status = MeshStatus(
            pid=1,
            start_time="",
            data_dir="",
            address="",
            metrics_address="",
            processes=tuple(ProcessStatus(name=spec.name, address=spec.address) for spec in specs),
        )
        self.supervisor = Supervisor(
            plan,
            status,
            launcher=self.launcher,
            probe=self.probe,
            journal=self.history.append,
            now_s=lambda: 0.0,
            random=lambda: 0.0,
            policy=RestartPolicy(delay_s_first=0.001),
            timing=Timing(
                poll_s=0.001,
                settle_s=settle_s,
                grace_s=0.05,
                ready_s=ready_s,
                patience=Patience(interval_s=0.001, silences_max=30),
            ),
            resting=resting,
        )

    def state(self, name: str) -> State:
        return next(process.state for process in self.history[-1].processes if process.name == name)

    @asynccontextmanager
    async def under_way(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.supervisor.run(self._stopped))
            yield
            self.stop.set()

    async def _stopped(self) -> None:
        await self.stop.wait()

    async def until(self, name: str, state: State) -> None:
        await eventually(lambda: bool(self.history) and self.state(name) is state, 2.0)

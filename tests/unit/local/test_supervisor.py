"""The supervisor with processes that live and die as the test says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from servemesh.local.domain.liveness import Patience
from servemesh.local.domain.plan import MeshPlan
from servemesh.local.domain.processes import MeshStatus, ProcessSpec, ProcessStatus, Stage, State
from servemesh.local.domain.restarts import RestartPolicy
from servemesh.local.service import HopelessError, Supervisor, Timing
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


async def test_a_service_is_ready_when_it_says_so():
    run = Run(WORKER)
    async with run.under_way():
        await run.until("worker", State.STARTING)
        run.launcher.latest("worker").say(READY_LINE)
        await run.until("worker", State.READY)
        assert run.history[-1].state is State.READY


async def test_a_line_that_only_mentions_ready_does_not_count():
    run = Run(WORKER)
    async with run.under_way():
        await run.until("worker", State.STARTING)
        run.launcher.latest("worker").say(b"not ready yet")
        run.launcher.latest("worker").say(b'{"event": "other", "text": "ready"}')
        assert run.state("worker") is State.STARTING


async def test_a_store_is_ready_when_its_page_answers():
    run = Run(STORE)
    async with run.under_way():
        await run.until("store", State.STARTING)
        run.probe.pages.add("http://store")
        await run.until("store", State.READY)


async def test_a_load_balancer_is_ready_when_it_has_found_all_its_hosts_well():
    run = Run(a_spec("edge", Stage.EDGE, members_url="http://members"))
    async with run.under_way():
        await run.until("edge", State.STARTING)
        run.launcher.latest("edge").say(READY_LINE)
        await run.probe.asked_for_members.wait()
        assert run.state("edge") is State.STARTING
        run.probe.well.add("http://members")
        await run.until("edge", State.READY)


async def test_a_load_balancer_with_a_dead_host_is_ready_after_a_while():
    run = Run(a_spec("edge", Stage.EDGE, members_url="http://members"), settle_s=0.01)
    async with run.under_way():
        await run.until("edge", State.STARTING)
        run.launcher.latest("edge").say(READY_LINE)
        await run.until("edge", State.READY)


async def test_a_process_is_not_started_before_its_file_is_there():
    run = Run(EDGE, WORKER)
    async with run.under_way():
        await run.until("worker", State.STARTING)
        assert run.launcher.starts("edge") == 0
        run.probe.files.add("bootstrap")
        await run.until("edge", State.STARTING)


async def test_what_dies_is_started_again():
    run = Run(WORKER)
    async with run.under_way():
        await run.until("worker", State.STARTING)
        run.launcher.latest("worker").say(READY_LINE)
        await run.until("worker", State.READY)
        run.launcher.latest("worker").end(-9)
        await eventually(lambda: run.launcher.starts("worker") == 2, 2.0)
        assert run.history[-1].processes[0].restarts == 1
        assert run.history[-1].state is State.DEGRADED


async def test_a_process_that_never_gets_ready_ends_the_mesh():
    run = Run(WORKER, STORE, launcher=SteppedLauncher(doomed=("worker",)))
    with pytest.raises(HopelessError, match="worker does not start"):
        await run.supervisor.run(run._stopped)
    assert run.history[-1].state is State.FAILED
    assert run.launcher.starts("worker") == 5


async def test_what_does_not_get_ready_in_time_is_killed_and_started_again():
    run = Run(WORKER, ready_s=0.05)
    async with run.under_way():
        await eventually(lambda: run.launcher.starts("worker") == 2, 2.0)
        run.launcher.latest("worker").say(READY_LINE)
        await run.until("worker", State.READY)
    assert run.launcher.started_ones[0][1].signals == ["KILL"]


async def test_what_no_longer_answers_is_killed_and_started_again():
    run = Run(STORE)
    run.probe.pages |= {"http://store", "http://well"}
    async with run.under_way():
        await run.until("store", State.READY)
        run.probe.pages.remove("http://well")
        await eventually(lambda: run.launcher.starts("store") >= 2, 2.0)
        run.probe.pages.add("http://well")
        await run.until("store", State.READY)
    assert run.launcher.started_ones[0][1].signals == ["KILL"]


async def test_stages_stop_in_order_and_the_edge_is_drained_before():
    run = Run(STORE, WORKER)
    ended: list[str] = []
    async with run.under_way():
        await run.until("worker", State.STARTING)
        await run.until("store", State.STARTING)
    assert run.probe.posted == ["http://drain"]
    for status in run.history:
        ended += [
            item.name for item in status.processes if item.state is State.STOPPED and item.name not in ended
        ]
    assert ended == ["worker", "store"]
    assert run.history[-1].state is State.STOPPED


async def test_a_process_that_does_not_obey_is_killed_after_the_grace():
    run = Run(WORKER, launcher=SteppedLauncher(stubborn=("worker",)))
    async with run.under_way():
        await run.until("worker", State.STARTING)
    assert run.launcher.latest("worker").signals == ["TERM", "KILL"]


async def test_nothing_is_started_again_while_stopping():
    run = Run(WORKER)
    async with run.under_way():
        await run.until("worker", State.STARTING)
    assert run.launcher.starts("worker") == 1


async def test_a_worker_that_rests_does_not_run_and_is_started_when_it_is_wanted():
    run = Run(WORKER, a_spec("worker-2", Stage.WORKERS), resting=frozenset({"worker-2"}))
    async with run.under_way():
        await run.until("worker", State.STARTING)
        run.launcher.latest("worker").say(READY_LINE)
        await run.until("worker-2", State.RESTING)
        await run.until("worker", State.READY)
        assert run.history[-1].state is State.READY
        run.supervisor.rest(frozenset())
        await run.until("worker-2", State.STARTING)


async def test_a_worker_that_is_to_rest_is_told_to_end_and_that_is_no_death():
    run = Run(WORKER)
    async with run.under_way():
        await run.until("worker", State.STARTING)
        run.launcher.latest("worker").say(READY_LINE)
        await run.until("worker", State.READY)
        run.supervisor.rest(frozenset({"worker"}))
        await run.until("worker", State.RESTING)
        assert run.launcher.latest("worker").signals == ["TERM"]
        assert run.history[-1].processes[0].restarts == 0
        assert run.history[-1].state is State.READY


async def test_a_worker_that_does_not_end_when_it_is_to_rest_is_killed():
    run = Run(WORKER, launcher=SteppedLauncher(stubborn=("worker",)))
    async with run.under_way():
        await run.until("worker", State.STARTING)
        run.supervisor.rest(frozenset({"worker"}))
        await eventually(lambda: "KILL" in run.launcher.latest("worker").signals, 2.0)

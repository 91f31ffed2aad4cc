"""Keeps every process of a plan running, and ends them in order."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from servemesh.local.domain.liveness import Liveness, Patience
from servemesh.local.domain.plan import MeshPlan
from servemesh.local.domain.processes import MeshStatus, ProcessSpec, Stage, State
from servemesh.local.domain.restarts import Deaths, RestartPolicy
from servemesh.observe import names

_log = logging.getLogger(__name__)


class RunningProcess(Protocol):
    """A child that has been started."""

    @property
    def pid(self) -> int: ...

    async def wait(self) -> int: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


class Launcher(Protocol):
    """Starts children; whatever is left of a child is ended when its block ends."""

    def started(
        self, spec: ProcessSpec, on_line: Callable[[bytes], None]
    ) -> AbstractAsyncContextManager[RunningProcess]: ...


class Probe(Protocol):
    """Looks at what children do: over HTTP, and at the files they write."""

    def has_file(self, path: str) -> bool: ...

    async def is_ready(self, url: str) -> bool: ...

    async def has_well_members(self, url: str) -> bool: ...

    async def post(self, url: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long the supervisor waits for what."""

    poll_s: float = 0.1
    """Between two looks at a file or a page that is to appear."""
    settle_s: float = 5.0
    """A process that has not found all its upstream hosts well by then is READY nevertheless: some may be dead."""
    grace_s: float = 20.0
    """A process told to end that has not ended by then is killed."""
    ready_s: float = 60.0
    """A process that is not ready by then is killed, and started again."""
    patience: Patience = field(default_factory=Patience)
    """A process that has been ready and no longer answers is killed when this is at its end."""


class HopelessError(Exception):
    """A process, `name`, died again and again before it was ever ready."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} does not start: {reason}")
        self.name = name


class Supervisor:
    """Runs a plan until told to stop. Every change of state goes to `journal`."""

    def __init__(
        self,
        plan: MeshPlan,
        status: MeshStatus,
        *,
        launcher: Launcher,
        probe: Probe,
        journal: Callable[[MeshStatus], None],
        now_s: Callable[[], float],
        random: Callable[[], float],
        policy: RestartPolicy,
        timing: Timing,
        resting: frozenset[str] = frozenset(),
    ) -> None:
        self._plan = plan
        self._status = status
        self._launcher = launcher
        self._probe = probe
        self._journal = journal
        self._now_s = now_s
        self._random = random
        self._policy = policy
        self._timing = timing
        self._running: dict[str, RunningProcess] = {}
        self._stopping = {stage: asyncio.Event() for stage in Stage}
        self._resting = resting

    def rest(self, resting: frozenset[str]) -> None:
        """Have exactly these processes not run: those that do are told to end, others are started again."""
        for name in resting - self._resting:
            if name in self._running and not self._is_ending():
                self._change_process(name, state=State.RESTING)
                self._running[name].terminate()
                asyncio.get_running_loop().call_later(self._timing.grace_s, self._kill, self._running[name])
        self._resting = resting

    def _kill(self, process: RunningProcess) -> None:
        """Kill a process that was told to end and still runs."""
        if process in self._running.values():
            process.kill()

    async def run(self, stop: Callable[[], Awaitable[object]]) -> None:
        """Start everything, keep it running until `stop` returns, then end it stage by stage.

        HopelessError if a process cannot be brought up; everything else is ended first.
        """
        self._change(replace(self._status, state=State.STARTING, error=""))
        try:
            async with asyncio.TaskGroup() as group:
                keepers = {
                    spec.name: group.create_task(self._keep(spec), name=spec.name)
                    for spec in self._plan.processes
                }
                await stop()
                await self._stop_in_order(keepers)
        except* HopelessError as errors:
            first = errors.exceptions[0]
            assert isinstance(first, HopelessError)
            self._change(replace(self._status, state=State.FAILED, error=str(first)))
            raise first from None
        self._change(replace(self._status, state=State.STOPPED))

    async def _keep(self, spec: ProcessSpec) -> None:
        """Start `spec` again whenever it dies, until its stage is stopped."""
        stopping = self._stopping[spec.stage]
        deaths = Deaths()
        while await self._may_start(spec, stopping):
            born_s = self._now_s()
            ready, code = await self._lived(spec)
            if stopping.is_set():
                break
            if spec.name in self._resting:
                continue
            lived_s = self._now_s() - born_s
            deaths = deaths.after(lived_s=lived_s, ready=ready, policy=self._policy)
            _log.warning(
                names.PROCESS_DIED, extra={"process_name": spec.name, "exit_code": code, "ready": ready}
            )
            if deaths.is_hopeless(self._policy):
                late = lived_s >= self._timing.ready_s
                reason = f"not ready within {lived_s:.0f} s" if late else f"it ended with status {code}"
                raise HopelessError(spec.name, f"{reason}, at {deaths.in_a_row} starts")
            self._change_process(
                spec.name, state=State.BACKOFF, pid=None, restarts=self._restarts(spec.name) + 1
            )
            await _set_within(stopping, deaths.delay_s(self._policy, self._random))
        self._change_process(spec.name, state=State.STOPPED, pid=None)

    async def _may_start(self, spec: ProcessSpec, stopping: asyncio.Event) -> bool:
        """Wait until `spec` is wanted and for the file that it needs; False if it is to stop before that."""
        is_told = False
        while not stopping.is_set():
            if spec.name in self._resting:
                if not is_told:
                    self._change_process(spec.name, state=State.RESTING, pid=None)
                is_told = True
            elif spec.needs_file is None or self._probe.has_file(spec.needs_file):
                return True
            await _set_within(stopping, self._timing.poll_s)
        return False

    async def _lived(self, spec: ProcessSpec) -> tuple[bool, int]:
        """Run `spec` once, to its end. Returns whether it was ready, and its exit status."""
        ready = asyncio.Event()

        def on_line(line: bytes) -> None:
            if spec.ready_url is None and _says_ready(line):
                ready.set()

        async with self._launcher.started(spec, on_line) as process:
            self._running[spec.name] = process
            self._change_process(spec.name, state=State.STARTING, pid=process.pid)
            try:
                async with asyncio.TaskGroup() as group:
                    watch = group.create_task(self._watch(spec, process, ready))
                    code = await process.wait()
                    watch.cancel()
            finally:
                del self._running[spec.name]
        return ready.is_set(), code

    async def _watch(self, spec: ProcessSpec, process: RunningProcess, ready: asyncio.Event) -> None:
        """Kill `process` if it does not get ready in time, or hangs later."""
        try:
            async with asyncio.timeout(self._timing.ready_s):
                await self._until_ready(spec, ready)
        except TimeoutError:
            failing = names.PROCESS_UNREADY
        else:
            await self._settled(spec)
            if not self._stopping[spec.stage].is_set() and spec.name not in self._resting:
                self._change_process(spec.name, state=State.READY)
            await self._until_hung(spec)
            failing = names.PROCESS_HANGS
        if not self._is_ending() and spec.name not in self._resting:
            _log.warning(failing, extra={"process_name": spec.name})
            process.kill()

    async def _until_ready(self, spec: ProcessSpec, ready: asyncio.Event) -> None:
        while spec.ready_url is not None and not ready.is_set():
            if await self._probe.is_ready(spec.ready_url):
                ready.set()
            else:
                await asyncio.sleep(self._timing.poll_s)
        await ready.wait()

    async def _settled(self, spec: ProcessSpec) -> None:
        """Return when `spec` has found all its upstream hosts well, or has had the time to."""
        if spec.members_url is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timing.settle_s):
                while True:
                    if await self._probe.has_well_members(spec.members_url):
                        return
                    await asyncio.sleep(self._timing.poll_s)

    async def _until_hung(self, spec: ProcessSpec) -> None:
        """Return when `spec` has not answered for too long; never, if there is nothing to ask it."""
        if spec.health_url is None:
            await self._stopping[spec.stage].wait()
            return
        liveness = Liveness()
        while not liveness.is_hung(self._timing.patience) and not self._is_ending():
            await asyncio.sleep(self._timing.patience.interval_s)
            liveness = liveness.after(answered=await self._probe.is_ready(spec.health_url))

    def _is_ending(self) -> bool:
        return self._status.state in (State.STOPPING, State.STOPPED, State.FAILED)

    async def _stop_in_order(self, keepers: dict[str, asyncio.Task[None]]) -> None:
        self._change(replace(self._status, state=State.STOPPING))
        await self._probe.post(self._plan.drain_url)
        for stage in Stage:
            self._stopping[stage].set()
            members = [spec.name for spec in self._plan.processes if spec.stage is stage]
            for name in members:
                if name in self._running:
                    self._change_process(name, state=State.STOPPING)
                    self._running[name].terminate()
            waiting = [keepers[name] for name in members]
            if not waiting:
                continue
            _, late = await asyncio.wait(waiting, timeout=self._timing.grace_s)
            for name in members:
                if keepers[name] in late and name in self._running:
                    _log.warning(names.PROCESS_LATE, extra={"process_name": name})
                    self._running[name].kill()

    def _restarts(self, name: str) -> int:
        return next(process.restarts for process in self._status.processes if process.name == name)

    def _change_process(self, name: str, **changes: object) -> None:
        self._change(self._status.with_process(name, **changes))

    def _change(self, status: MeshStatus) -> None:
        if status.state is not self._status.state:
            _log.info(names.MESH_STATE, extra={"state": status.state.value})
        self._status = status
        self._journal(status)


def _says_ready(line: bytes) -> bool:
    if names.READY.encode() not in line:
        return False
    try:
        fields = json.loads(line)
    except ValueError:
        return False
    return isinstance(fields, dict) and fields.get("event") == names.READY


async def _set_within(event: asyncio.Event, timeout_s: float) -> None:
    """Return when `event` is set, or after `timeout_s`."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        pass

"""Histories of a worker's memory: what is assigned and asked for is loaded when it can be, within bounds, and rests."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from servemesh.errors import DamagedError, ServemeshError, UnavailableError
from servemesh.lifecycle import background
from servemesh.worker.domain.batching import BatchPolicy
from servemesh.worker.domain.slots import SlotState
from servemesh.worker.domain.versions import ArtifactFile, AssignedVersion, Assignment, Batching, Version
from servemesh.worker.service.execution import Array, Stop
from servemesh.worker.service.loading import Loader, LoadLimits
from servemesh.worker.service.reconciler import ReconcilePolicy, Reconciler
from servemesh.worker.service.residency import Residency, SlotStatus
from tests.harness.reconciler_bench import MemoryJournal
from tests.harness.simulation import History, VirtualLoop, VirtualPool, explore, replay
from tests.harness.worker_values import a_version

HISTORIES = 600
MEMORY_BYTES_MAX = 250
LOADS_MAX = 2
LOAD_WAIT_S = 20.0
RETRY_LONGEST_S = 1.0
CALM_S = 60.0
SIZES = {"a": 100, "b": 100, "c": 60, "d": 200, "e": 300, "f": 20, "g": 20, "h": 10}


class Session:
    """A model in memory; it gives its input back."""

    def __init__(self, desk: Desk, name: str) -> None:
        self._desk = desk
        self._name = name
        self.memory_bytes = desk.measured[name]

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str], stop: Stop) -> list[Array]:
        assert self._desk.open[self._name], f"{self._name} runs after it was closed"
        return list(inputs.values())

    def close(self) -> None:
        self._desk.open[self._name] -= 1
        assert not self._desk.open[self._name], "closed twice, or open twice"


class Desk:
    """Residency, reconciler and loader, with artifacts and sessions that take their time or fail."""

    def __init__(self, history: History, loop: VirtualLoop) -> None:
        self.history = history
        self.loop = loop
        self.open: Counter[str] = Counter()
        self.loads: Counter[str] = Counter()
        self.is_calm = False
        self.is_stopping = False
        self.is_exact = history.happens(0.5)
        larger = 1.0 if self.is_exact else 1.4
        self.measured = {name: int(size * larger) for name, size in SIZES.items()}
        self.revision = 0
        self.residency = Residency(
            policy=BatchPolicy(),
            memory_factor=1.0,
            load_wait_s=LOAD_WAIT_S,
            name_wait_s=1.0,
            clock_s=loop.time,
            told=self._told,
        )
        self.loader = Loader(
            self,
            self._opened,
            MemoryJournal(),
            limits=LoadLimits(memory_bytes_max=MEMORY_BYTES_MAX, open_timeout_s=5.0),
            policy=BatchPolicy(),
            pools=self._pool,
        )
        self.reconciler = Reconciler(
            self.residency,
            self.loader,
            ReconcilePolicy(
                memory_bytes_max=MEMORY_BYTES_MAX,
                loads_max=LOADS_MAX,
                retry_first_s=0.05,
                retry_longest_s=RETRY_LONGEST_S,
            ),
            clock_s=loop.time,
            chances=history.chance,
        )

    @asynccontextmanager
    async def holding(self, version: Version) -> AsyncIterator[Path]:
        """Artifacts: fetched in a moment, or not."""
        self.loads[version.model] += 1
        await asyncio.sleep(self.history.chance.choice([0.0, 0.05, 1.0]))
        fate = 1.0 if self.is_calm else self.history.chance.random()
        if fate < 0.1:
            raise UnavailableError("the store is away")
        if fate < 0.15:
            raise DamagedError("not what it should be")
        yield Path(version.model)

    async def _opened(self, path: Path) -> Session:
        name = path.parent.name
        await asyncio.sleep(self.history.chance.choice([0.0, 0.05, 0.5]))
        if not self.is_calm and self.history.happens(0.05):
            raise ServemeshError("cannot be opened", reason="MODEL_BROKEN")
        self.open[name] += 1
        assert self.open[name] == 1, f"{name} is open twice"
        return Session(self, name)

    def _pool(self, executions: int) -> Executor:
        return VirtualPool(self.loop, self.history.chance, longest_s=0.3)

    def _told(self, slots: Sequence[SlotStatus]) -> None:
        """Look at every state that is told to the outside."""
        taken = sum(slot.memory_bytes for slot in slots)
        self.history.tell({slot.model: slot.state.value for slot in slots}, taken)
        if self.is_exact:
            assert taken <= MEMORY_BYTES_MAX, f"{taken} bytes are taken"
        under_way = [slot for slot in slots if slot.state in (SlotState.LOADING, SlotState.WARMING)]
        assert len(under_way) <= LOADS_MAX, "too many loads at once"
        for slot in slots if not self.is_stopping else ():
            assert slot.state is not SlotState.READY or self.open[slot.model], f"{slot.model} is not open"

    def assign(self, names: Sequence[str]) -> None:
        self.revision += 1
        self.history.tell("assigned", *names)
        linger_s = self.history.chance.choice([0.0, 0.0, 0.05])
        versions = tuple(_assigned(name, linger_s) for name in names)
        self.residency.assign(Assignment(revision=self.revision, versions=versions))

    async def call(self, name: str) -> None:
        """A call that can wait for its model, and runs on it."""
        start_s = self.loop.time()
        try:
            slot = await self.residency.ready(name, "")
            assert slot.model == name
            assert self.open[name], "what was found is not open"
            rows = np.zeros((1, 4), np.float32)
            await slot.batcher.infer([rows], 1, outputs=("y",), expires_s=self.loop.time() + 5)
        except ServemeshError as error:
            self.history.tell(name, "refused", error.reason)
            if self.is_calm:
                raise AssertionError(f"{name}: {error!r}") from error
        assert self.loop.time() - start_s <= LOAD_WAIT_S + 10

    def find(self, name: str) -> None:
        """A call that does not wait finds what takes calls, or nothing."""
        try:
            slot = self.residency.find(name, "")
        except ServemeshError:
            return
        assert slot.batcher.is_open, f"{name} was found, and takes no calls"


def _assigned(name: str, linger_s: float) -> AssignedVersion:
    files = (ArtifactFile(path="model.onnx", size_bytes=SIZES[name], sha256=name),)
    return AssignedVersion(
        version=a_version(name, files=files), is_default=True, batching=Batching(linger_s=linger_s)
    )


async def residency(history: History) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    desk = Desk(history, loop)
    async with background(desk.reconciler.run):
        callers = await _busy(desk)
        for caller in callers:
            if history.happens(0.5):
                caller.cancel()
        await asyncio.wait(callers) if callers else None
        for caller in callers:
            if not caller.cancelled():
                caller.result()
        await _comes_to_rest(desk)
        desk.is_stopping = True
    assert not +desk.open, f"still open: {desk.open}"


async def _busy(desk: Desk) -> list[asyncio.Task[None]]:
    history, chance = desk.history, desk.history.chance
    names = list(SIZES)
    callers: list[asyncio.Task[None]] = []
    for _ in range(chance.randint(3, 25)):
        name = chance.choice(names)
        match chance.choice(["assign", "call", "call", "call", "find", "unload", "cancel"]):
            case "assign":
                desk.assign(chance.sample(names, chance.randint(0, 6)))
            case "call":
                history.tell("call", name)
                callers.append(desk.loop.create_task(desk.call(name)))
            case "find":
                for other in names:
                    desk.find(other)
            case "unload":
                history.tell("unload", name)
                callers.append(desk.loop.create_task(_unload(desk, name)))
            case "cancel" if callers:
                chance.choice(callers).cancel()
        await asyncio.sleep(chance.choice([0.0, 0.01, 0.3, 2.0]))
    return callers


async def _unload(desk: Desk, name: str) -> None:
    try:
        async with asyncio.timeout(LOAD_WAIT_S):
            await desk.residency.unload(name)
    except (ServemeshError, TimeoutError):
        return


async def _comes_to_rest(desk: Desk) -> None:
    """With nobody calling, nothing moves for long; then each that fits is loaded when it is asked for."""
    desk.is_calm = True
    await asyncio.sleep(CALM_S)
    desk.history.tell("calm")
    loads, states = +desk.loads, _states(desk)
    await asyncio.sleep(CALM_S)
    assert states == _states(desk), "something still moves"
    assert loads == +desk.loads, f"loaded again and again: {desk.loads - loads}"
    slots: list[Any] = desk.residency.slots()
    assert sum(slot.memory_bytes for slot in slots) <= MEMORY_BYTES_MAX
    for slot in slots:
        if desk.measured[slot.model] <= MEMORY_BYTES_MAX and slot.reason != "MODEL_TOO_LARGE":
            await desk.call(slot.model)
    await asyncio.sleep(CALM_S)
    assert sum(slot.memory_bytes for slot in desk.residency.slots()) <= MEMORY_BYTES_MAX


def _states(desk: Desk) -> dict[str, SlotState]:
    return {slot.model: slot.state for slot in desk.residency.slots()}


@pytest.mark.timeout(420)
def test_memory_keeps_its_bounds_comes_to_rest_and_serves_whoever_asks() -> None:
    explore(residency, histories=HISTORIES)


# 41: a failure that was waited out refused calls for good.
@pytest.mark.parametrize("seed", [41])
def test_a_history_that_found_a_bug(seed: int) -> None:
    replay(residency, seed)

"""Histories of calls for models that nobody holds: every caller gets an answer, and no load is asked for twice."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import pytest

from servemesh.errors import (
    ExpiredError,
    MissingError,
    OverloadedError,
    ServemeshError,
    UnavailableError,
)
from servemesh.gateway.domain.fleet import Fleet, SlotState, Worker
from servemesh.gateway.service.activator import ActivationLimits, Activator
from servemesh.gateway.service.fleet_view import LiveFleet
from tests.harness.mesh_fakes import a_slot, a_worker
from tests.harness.simulation import History, explore, replay

HISTORIES = 3_000
MODELS = ("a", "b")
LIMITS = ActivationLimits(waiting_calls_max=6, waiting_bytes_max=100, unknown_max=1)
PATIENT_S = 30.0


@dataclass
class Mesh:
    """Workers and a registry that do what they are asked, late, or not at all."""

    history: History
    live: LiveFleet
    deployed: set[str]
    is_calm: bool = False
    is_registry_away: bool = False

    def __post_init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.asked_s: dict[tuple[str, str], float] = {}
        self.evicted: set[str] = set()
        self.ready_s = dict.fromkeys(MODELS, 0.0)
        self.waiting: dict[str, int] = {}

    def put(self, worker: Worker) -> None:
        fleet = self.live.fleet
        by_id = {**fleet.by_id, worker.worker_id: worker}
        before = {model for model in MODELS if self.is_ready(model)}
        self.live.put(Fleet(revision=fleet.revision + 1, by_id=by_id))
        for model in {model for model in MODELS if self.is_ready(model)} - before:
            self.ready_s[model] = self.loop.time()

    def without(self, worker_id: str) -> None:
        fleet = self.live.fleet
        by_id = {id_: worker for id_, worker in fleet.by_id.items() if id_ != worker_id}
        self.live.put(Fleet(revision=fleet.revision + 1, by_id=by_id))

    def become(self, worker_id: str, model: str, state: SlotState) -> None:
        worker = self.live.fleet.by_id.get(worker_id)
        if worker is None:
            return
        others = tuple(slot for slot in worker.slots if slot.model != model)
        self.put(replace(worker, slots=(*others, a_slot(model, state=state))))

    def is_ready(self, model: str) -> bool:
        return self.live.fleet.is_ready(model)

    # --- Workers and Catalog, as far as activation goes --------------------------------------------

    async def load_slot(self, address: str, model: str, version_id: int, *, timeout_s: float) -> None:
        worker_id = address.partition(":")[0]
        self._ask("load", model)
        self.history.tell("load", model, "at", worker_id)
        await self._way(timeout_s)
        self._begin_load(worker_id, model)

    async def demand(self, model: str, version: str, *, timeout_s: float) -> None:
        self._ask("demand", model)
        self.history.tell("demand", model)
        if self.is_registry_away:
            raise UnavailableError("the registry is away")
        await self._way(timeout_s)
        if model not in self.deployed:
            raise MissingError(f"{model} is not deployed")
        workers = list(self.live.fleet.by_id)
        if not workers:
            raise UnavailableError("no worker is there to hold it", reason="NO_WORKERS")
        self.loop.call_later(self._soon_s(), self._begin_load, self.history.chance.choice(workers), model)

    def _ask(self, what: str, model: str) -> None:
        assert self.waiting.get(model), f"nobody waits for {model}"
        now_s = self.loop.time()
        before_s = self.asked_s.get((what, model), -1e9)
        assert now_s - before_s >= LIMITS.ask_interval_s - 1e-9, f"{what} of {model} asked for twice"
        assert not self.is_ready(model), f"{what} of {model}, which is READY"
        self.asked_s[what, model] = now_s

    async def _way(self, timeout_s: float) -> None:
        fate = 0.9 if self.is_calm else self.history.chance.random()
        if fate < 0.1:
            await asyncio.sleep(timeout_s)
            raise ExpiredError("Deadline Exceeded")
        await asyncio.sleep(self._soon_s())
        if fate < 0.2:
            raise UnavailableError("cannot be reached")

    def _begin_load(self, worker_id: str, model: str) -> None:
        self.become(worker_id, model, SlotState.LOADING)
        ends = [SlotState.READY]
        if not self.is_calm:
            ends += [SlotState.READY, SlotState.FAILED, SlotState.UNLOADED]
        elif model not in self.evicted:  # it makes way for another one, once
            self.evicted.add(model)
            ends = [SlotState.UNLOADED]
        end = self.history.chance.choice(ends)
        self.loop.call_later(self._soon_s(), self.become, worker_id, model, end)

    def _soon_s(self) -> float:
        return self.history.chance.choice([0.01, 0.1, 2.0])

    def event(self) -> None:
        chance = self.history.chance
        worker_id, model = f"w{chance.randint(1, 2)}", chance.choice(MODELS)
        state = chance.choice([SlotState.UNLOADED, SlotState.FAILED, SlotState.READY, SlotState.DRAINING])
        match chance.choice(["join", "slot", "slot", "die", "registry", "deploy"]):
            case "join":
                self.put(a_worker(worker_id))
            case "slot":
                self.become(worker_id, model, state)
            case "die":
                self.without(worker_id)
            case "registry":
                self.is_registry_away = not self.is_registry_away
            case "deploy":
                self.deployed ^= {model}
        self.history.tell("fleet", worker_id, model, state.value)


class Callers:
    """Those who wait."""

    def __init__(self, mesh: Mesh, activator: Activator) -> None:
        self._mesh = mesh
        self._activator = activator
        self.tasks: list[asyncio.Task[None]] = []
        self.bytes = 0

    def call(self, model: str, timeout_s: float, size_bytes: int) -> asyncio.Task[None]:
        task = self._mesh.loop.create_task(self._call(model, timeout_s, size_bytes))
        self.tasks.append(task)
        return task

    async def _call(self, model: str, timeout_s: float, size_bytes: int) -> None:
        mesh = self._mesh
        mesh.waiting[model] = mesh.waiting.get(model, 0) + 1
        self.bytes += size_bytes
        start_s = mesh.loop.time()
        try:
            async with asyncio.timeout(timeout_s):
                holdings = await self._activator.holdings(model, "", size_bytes=size_bytes)
            assert {holding.slot.model for holding in holdings} == {model}
            mesh.history.tell("answered", model, "after", round(mesh.loop.time() - start_s, 3))
        except OverloadedError:
            assert self._waiting() > LIMITS.waiting_calls_max or self.bytes > LIMITS.waiting_bytes_max
        except (ServemeshError, TimeoutError) as error:
            mesh.history.tell("refused", model, repr(error))
            if mesh.is_ready(model) and mesh.loop.time() > mesh.ready_s[model]:
                raise AssertionError(f"{model} is READY: {error!r}") from error
        finally:
            mesh.waiting[model] -= 1
            if not mesh.waiting[model]:  # whoever comes next wishes anew
                mesh.asked_s = {asked: when for asked, when in mesh.asked_s.items() if asked[1] != model}
            self.bytes -= size_bytes

    def _waiting(self) -> int:
        return sum(self._mesh.waiting.values())


async def activation(history: History) -> None:
    chance = history.chance
    workers = [a_worker(f"w{number}") for number in range(1, chance.randint(1, 3))]
    live = LiveFleet(Fleet(revision=1, by_id={worker.worker_id: worker for worker in workers}))
    mesh = Mesh(history, live, {model for model in MODELS if history.happens(0.8)})
    activator: Any = Activator(live, mesh, mesh, LIMITS)  # type: ignore[arg-type]
    callers = Callers(mesh, activator)
    for _ in range(chance.randint(3, 12)):
        if history.happens(0.6):
            callers.call(chance.choice(MODELS), chance.choice([0.005, 0.5, 4.0]), chance.choice([1, 40]))
        else:
            mesh.event()
        await asyncio.sleep(chance.choice([0.0, 0.0, 0.02, 0.3, 1.5]))
    await _settle(mesh, callers)
    for task in callers.tasks:
        await task
    assert activator._waiting_calls == activator._waiting_bytes == 0
    assert not activator._waiters
    assert not activator._asked_s
    assert len(activator._refusals) <= LIMITS.unknown_max


async def _settle(mesh: Mesh, callers: Callers) -> None:
    """With everything well, one who has time gets the model."""
    mesh.is_calm, mesh.is_registry_away, mesh.deployed = True, False, set(MODELS)
    await asyncio.sleep(LIMITS.ask_timeout_s + 5)  # what was said and asked before is over
    for worker_id in ("w1", "w2"):
        mesh.put(a_worker(worker_id))
    mesh.history.tell("calm")
    for model in MODELS:
        await callers.call(model, PATIENT_S, 1)
        assert mesh.is_ready(model), f"{model} was not loaded in {PATIENT_S} s"


@pytest.mark.timeout(420)
def test_every_caller_gets_an_answer_and_no_load_is_asked_for_twice() -> None:
    explore(activation, histories=HISTORIES)


# 5: a caller waited for a worker that hangs although another one was READY.
@pytest.mark.parametrize("seed", [5])
def test_a_history_that_found_a_bug(seed: int) -> None:
    replay(activation, seed)

"""Jobs through thousands of histories of crashes, freezes, lost answers and wrong clocks: each commits once."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from servemesh.changes import Changes
from servemesh.optimizer.domain.jobs import State
from servemesh.optimizer.domain.results import OptimizationResult
from servemesh.optimizer.service.jobs import JobBook
from servemesh.optimizer.service.storage import Store
from tests.harness.optimizer_store import MemoryOptimizerStore
from tests.harness.optimizer_values import BOUNDS, OPTIMIZATION, START
from tests.harness.simulated_optimizers import CountingRegistry, SimulatedOptimizer, VirtualClock
from tests.harness.simulation import History, explore

QUIET_S = 200.0


def test_each_job_is_committed_once_whatever_dies_or_freezes() -> None:
    explore(_history, histories=150)


async def _history(history: History) -> None:
    store, registry = MemoryOptimizerStore(), CountingRegistry()
    book = JobBook(store, VirtualClock(0.0), Changes(), BOUNDS)
    async with asyncio.TaskGroup() as group:
        optimizers = [SimulatedOptimizer(f"o{n}", store, registry, history) for n in range(2)]
        for optimizer in optimizers:
            optimizer.start(group)
        names = []
        for _ in range(history.chance.randint(1, 4)):
            names.append((await book.create(OPTIMIZATION)).name)
            for optimizer in optimizers:
                if history.happens(0.5):  # the other half of the messages is lost
                    optimizer.changes.notify()
        for _ in range(history.chance.randint(0, 8)):
            await asyncio.sleep(history.chance.random() * 8.0)
            await _disturb(history, group, book, optimizers, names)
        await asyncio.sleep(QUIET_S)
        for optimizer in optimizers:
            await optimizer.stop()
    await _check(store, registry, names)


async def _disturb(
    history: History,
    group: asyncio.TaskGroup,
    book: JobBook,
    optimizers: list[SimulatedOptimizer],
    names: list[str],
) -> None:
    optimizer = history.chance.choice(optimizers)
    match history.chance.randint(0, 3):
        case 0:
            await optimizer.kill()
            await asyncio.sleep(history.chance.random() * 12.0)
            optimizer.start(group)
        case 1:
            await optimizer.stop()
            optimizer.start(group)
        case 2:
            optimizer.freeze(history.chance.random() * 25.0)
        case _:
            name = history.chance.choice(names)
            history.tell("cancel", name)
            await book.cancel(name)


async def _check(store: Store, registry: CountingRegistry, names: list[str]) -> None:
    async with store.reading() as tx:
        records = [await tx.jobs.find(name) for name in names]
        facts = await tx.facts.list_unsent(limit=10_000)
    for record in records:
        assert record is not None
        job = record.job
        assert job.has_ended, f"{job.name} is {job.state} after {START + timedelta(seconds=QUIET_S)}"
        assert job.state in (State.SUCCEEDED, State.CANCELLED), f"{job.name}: {job.error}"
        made = registry.made_by(job.name)
        if job.state is State.CANCELLED:
            assert made == 0, f"{job.name} is cancelled and made {made} versions"
        else:
            assert isinstance(record.result, OptimizationResult)
            assert made == len(record.result.variants), f"{job.name} made {made} versions"
    ends = [fact for fact in facts if ".succeeded." in fact.subject or ".cancelled." in fact.subject]
    assert len(ends) == len(names), "each job ends once, and the mesh is told so"

"""Leases, placement and demands, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from servemesh.errors import (
    MissingError,
    OverloadedError,
    StaleError,
    UnavailableError,
)
from servemesh.paging import page_request
from servemesh.registry.domain.fleet import WorkerState
from servemesh.registry.domain.observing import DeploymentState
from tests.harness.registry import GIB, MIB, RegistryParts, a_worker, registry_at


async def test_assignment_revisions_rise_and_stay_while_nothing_changes(registry: RegistryParts) -> None:
    await registry.push("iris")
    await registry.deployments.create("iris", replicas=1)
    (worker,) = await registry.settle(*await registry.join(1))
    first = (await registry.leases.renew(worker)).assignment.revision
    await registry.placing.reconcile()
    assert (await registry.leases.renew(worker)).assignment.revision == first
    await registry.aliases.set("iris", "prod", 1, "")
    await registry.placing.reconcile()
    assert (await registry.leases.renew(worker)).assignment.revision > first


async def test_a_replaced_incarnation_cannot_come_back(registry: RegistryParts) -> None:
    await registry.leases.renew(a_worker("w1", incarnation="first"))
    await registry.leases.renew(a_worker("w1", incarnation="second"))
    with pytest.raises(StaleError):
        await registry.leases.renew(a_worker("w1", incarnation="first"))
    await registry.leases.end("w1", "first")
    assert (await registry.leases.get("w1")).worker.incarnation == "second"
    await registry.leases.end("w1", "second")
    with pytest.raises(MissingError):
        await registry.leases.get("w1")
    with pytest.raises(StaleError):
        await registry.leases.renew(a_worker("w1", incarnation="second"))


async def test_the_first_answer_to_a_worker_says_what_it_should_hold(registry: RegistryParts) -> None:
    await registry.push("iris")
    await registry.deployments.create("iris")
    worker = a_worker("w1")
    assert await registry.renewed(worker) == {("iris", 1)}
    await registry.leases.end("w1", worker.incarnation)
    assert await registry.renewed(replace(worker, incarnation="next")) == {("iris", 1)}


async def test_a_silent_worker_is_missed_after_a_whole_lease_and_its_versions_move(
    registry: RegistryParts,
) -> None:
    await registry.push("iris")
    await registry.deployments.create("iris", replicas=1)
    workers = await registry.settle(*await registry.join(2))
    silent = next(worker for worker in workers if worker.slots)
    other = next(worker for worker in workers if not worker.slots)
    await registry.leases.expire(registry.watch)
    registry.clock.advance(9)
    await registry.leases.renew(other)
    await registry.leases.expire(registry.watch)
    assert (await registry.leases.get(silent.worker_id)).live
    registry.clock.advance(2)
    await registry.leases.expire(registry.watch)
    with pytest.raises(MissingError):
        await registry.leases.get(silent.worker_id)
    await registry.settle(other)
    assert await registry.state("iris") is DeploymentState.READY


async def test_a_clock_that_jumps_ends_no_lease(registry: RegistryParts) -> None:
    await registry.join()
    await registry.leases.expire(registry.watch)
    registry.clock.jump(3_600)
    await registry.leases.expire(registry.watch)
    page = await registry.leases.list(page_request("workers", 0, ""))
    assert len(page.items) == 3


async def test_a_draining_worker_hands_its_versions_over(registry: RegistryParts) -> None:
    await registry.push("iris")
    await registry.deployments.create("iris", replicas=1)
    workers = await registry.settle(*await registry.join(2))
    leaving = replace(next(worker for worker in workers if worker.slots), state=WorkerState.DRAINING)
    other = next(worker for worker in workers if not worker.slots)
    await registry.leases.renew(leaving)
    await registry.placing.reconcile()
    assert await registry.renewed(other) == {("iris", 1)}
    assert await registry.renewed(leaving) == {("iris", 1)}


async def test_a_version_nobody_holds_is_placed_on_demand_and_goes_when_idle(registry: RegistryParts) -> None:
    await registry.push("iris")
    await registry.deployments.create("iris", replicas=0)
    workers = await registry.settle(*await registry.join())
    assert not any(worker.slots for worker in workers)
    assert await registry.state("iris") is DeploymentState.READY
    key, holders = await registry.demands.demand("models/iris")
    assert (key, len(holders)) == (("iris", 1), 1)
    workers = await registry.settle(*workers)
    assert sum(len(worker.slots) for worker in workers) == 1
    registry.clock.advance(299)
    workers = await registry.settle(*workers)
    assert any(worker.slots for worker in workers)
    registry.clock.advance(2)
    workers = await registry.settle(*workers)
    assert not any(worker.slots for worker in workers)


async def test_a_version_that_is_called_stays_placed(registry: RegistryParts) -> None:
    await registry.push("iris")
    await registry.deployments.create("iris", replicas=0)
    (worker,) = await registry.join(1)
    await registry.demands.demand("models/iris/versions/1")
    (worker,) = await registry.settle(worker)
    registry.clock.advance(290)
    called = replace(worker.slots[0], call_time=registry.clock.now())
    await registry.leases.renew(replace(worker, slots=(called,)))
    registry.clock.advance(290)
    await registry.placing.reconcile()
    assert await registry.renewed(replace(worker, slots=(called,))) == {("iris", 1)}


async def test_demands_that_cannot_be_met_say_why(registry: RegistryParts) -> None:
    with pytest.raises(MissingError):
        await registry.demands.demand("models/iris")
    await registry.push("iris", size_bytes=8 * GIB)
    with pytest.raises(MissingError):
        await registry.demands.demand("models/iris")
    await registry.deployments.create("iris", replicas=0)
    with pytest.raises(UnavailableError):
        await registry.demands.demand("models/iris")
    await registry.join(1)
    with pytest.raises(OverloadedError) as refusal:
        await registry.demands.demand("models/iris")
    assert refusal.value.reason == "MODEL_TOO_BIG"


async def test_demand_makes_room_by_taking_what_was_demanded_longest_ago(registry: RegistryParts) -> None:
    for model_id in ("a", "b", "c"):
        await registry.push(model_id, size_bytes=MIB)
        await registry.deployments.create(model_id, replicas=0)
    workers = await registry.join(1, memory_bytes_max=140 * MIB)
    for model_id in ("a", "b", "c"):
        registry.clock.advance(1)
        await registry.demands.demand(f"models/{model_id}")
        workers = await registry.settle(*workers)
    assert {slot.model_id for slot in workers[0].slots} == {"b", "c"}


async def test_workers_are_nudged_when_their_assignment_changes(registry: RegistryParts) -> None:
    await registry.push("iris")
    await registry.join(1)
    await registry.placing.reconcile()
    async with registry.bus.subscribe("servemesh.v1.fleet.assignment.changed.w0") as nudges:
        await registry.deployments.create("iris", replicas=1)
        await registry.placing.reconcile()
        async with asyncio.timeout(5):
            assert (await anext(aiter(nudges))).data == b""


async def test_assignments_survive_the_registry(database_url: str) -> None:
    async with registry_at(database_url) as registry:
        await registry.push("iris")
        await registry.deployments.create("iris", replicas=1)
        (worker,) = await registry.settle(*await registry.join(1))
        before = (await registry.leases.renew(worker)).assignment
    async with registry_at(database_url) as registry:
        await registry.placing.reconcile()
        assert (await registry.leases.renew(worker)).assignment == before
        assert await registry.state("iris") is DeploymentState.READY

"""Deployments, leases, placement and demands, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from servemesh.errors import (
    ConflictError,
    ExistsError,
    InvalidError,
    MissingError,
    OverloadedError,
    StaleError,
    UnavailableError,
)
from servemesh.registry.domain.deployments import Share, TrafficTarget
from servemesh.registry.domain.fleet import Slot, SlotState, Worker, WorkerState
from servemesh.registry.domain.observing import DeploymentState
from servemesh.registry.domain.paging import page_request
from tests.harness.registry import GIB, MIB, RegistryParts, a_worker, holding, registry_at

PROD = TrafficTarget(target="models/iris/aliases/prod", weight_percent=100)


def version(version_id: int, weight_percent: int = 100) -> TrafficTarget:
    return TrafficTarget(target=f"models/iris/versions/{version_id}", weight_percent=weight_percent)


async def state(registry: RegistryParts, model_id: str = "iris") -> DeploymentState:
    return (await registry.deployments.get(model_id)).observation.state


async def joined(registry: RegistryParts, count: int = 3, **changes: object) -> tuple[Worker, ...]:
    workers = tuple(a_worker(f"w{number}", **changes) for number in range(count))
    for worker in workers:
        await registry.leases.renew(worker)
    return workers


async def test_a_deployment_becomes_ready_on_two_workers(registry: RegistryParts) -> None:
    await registry.push("iris")
    workers = await joined(registry)
    created = await registry.deployments.create("iris")
    assert created.observation.state is DeploymentState.PENDING
    workers = await registry.settle(*workers)
    assert sorted(len(worker.slots) for worker in workers) == [0, 1, 1]
    observation = (await registry.deployments.get("iris")).observation
    assert (observation.state, observation.ready_replicas) == (DeploymentState.READY, 2)


async def test_a_model_is_deployed_once_and_only_with_a_version(registry: RegistryParts) -> None:
    await registry.catalog.create_model("iris", "", {})
    with pytest.raises(ConflictError) as refusal:
        await registry.deployments.create("iris")
    assert refusal.value.reason == "NO_VERSION"
    await registry.push("iris")
    await registry.deployments.create("iris")
    with pytest.raises(ExistsError):
        await registry.deployments.create("iris")


@pytest.mark.parametrize(
    "traffic",
    [
        [version(1, 60)],
        [version(1, 50), version(1, 50)],
        [TrafficTarget(target="models/wine/versions/1", weight_percent=100)],
        [TrafficTarget(target="nonsense", weight_percent=100)],
        [version(1, 101), version(2, -1)],
    ],
)
async def test_traffic_that_makes_no_sense_is_refused(
    registry: RegistryParts, traffic: list[TrafficTarget]
) -> None:
    await registry.push("iris")
    with pytest.raises(InvalidError) as refusal:
        await registry.deployments.create("iris", traffic)
    assert refusal.value.metadata["field"].startswith("deployment.traffic")


async def test_an_update_serves_the_old_version_until_the_new_one_is_ready(registry: RegistryParts) -> None:
    await registry.push("iris")
    workers = await joined(registry)
    await registry.deployments.create("iris")
    workers = await registry.settle(*workers)
    await registry.push("iris")
    await registry.deployments.update("iris", "", traffic=[version(2)])
    await registry.placing.reconcile()
    for _ in range(3):
        workers = tuple(
            [
                holding(
                    worker,
                    *(key for key in await registry.renewed(worker) if key == ("iris", 1)),
                )
                for worker in workers
            ]
        )
        for worker in workers:
            await registry.leases.renew(worker)
        await registry.placing.reconcile()
    seen = await registry.deployments.get("iris")
    assert seen.wish.serving == (Share(version_id=1, weight_percent=100),)
    assert seen.observation.state is DeploymentState.PENDING
    workers = await registry.settle(*workers)
    assert (await registry.deployments.get("iris")).wish.serving == (Share(version_id=2, weight_percent=100),)
    assert {slot.key for worker in workers for slot in worker.slots} == {("iris", 2)}
    assert await state(registry) is DeploymentState.READY


async def test_an_update_to_a_version_that_cannot_be_loaded_keeps_the_old_one(
    registry: RegistryParts,
) -> None:
    await registry.push("iris")
    workers = await registry.settle(
        *await joined(registry),
    )
    await registry.deployments.create("iris")
    workers = await registry.settle(*workers)
    await registry.push("iris")
    await registry.deployments.update("iris", "", traffic=[version(2)])
    for _ in range(5):
        await registry.placing.reconcile()
        workers = tuple([await obeyed_but_failing(registry, worker, ("iris", 2)) for worker in workers])
    seen = await registry.deployments.get("iris")
    assert seen.wish.serving == (Share(version_id=1, weight_percent=100),)
    assert (seen.observation.state, seen.observation.reason) == (DeploymentState.FAILED, "ONNX_REFUSED")
    assert sum(slot.key == ("iris", 1) for worker in workers for slot in worker.slots) >= 2


async def obeyed_but_failing(registry: RegistryParts, worker: Worker, bad: tuple[str, int]) -> Worker:
    slots = tuple(
        Slot(
            model_id=key[0],
            version_id=key[1],
            state=SlotState.FAILED if key == bad else SlotState.READY,
            reason="ONNX_REFUSED" if key == bad else "",
        )
        for key in await registry.renewed(worker)
    )
    worker = replace(worker, slots=slots)
    await registry.leases.renew(worker)
    return worker


async def test_traffic_follows_an_alias_that_moves(registry: RegistryParts) -> None:
    await registry.push("iris")
    await registry.push("iris")
    await registry.aliases.set("iris", "prod", 1, "")
    await registry.deployments.create("iris", [PROD], replicas=1)
    (worker,) = await registry.settle(*await joined(registry, 1))
    assert await assigned(registry, worker) == [(("iris", 1), True, ("prod",))]
    await registry.aliases.set("iris", "prod", 2, "")
    await registry.placing.reconcile()
    assert await assigned(registry, worker) == [(("iris", 1), True, ()), (("iris", 2), False, ("prod",))]
    (worker,) = await registry.settle(worker)
    assert await assigned(registry, worker) == [(("iris", 2), True, ("prod",))]


async def assigned(registry: RegistryParts, worker: Worker) -> list[tuple[object, bool, tuple[str, ...]]]:
    slots = (await registry.leases.renew(worker)).assignment.slots
    return [(slot.key, slot.is_default, slot.aliases) for slot in slots]


async def test_with_a_split_the_larger_share_is_the_default(registry: RegistryParts) -> None:
    await registry.push("iris")
    await registry.push("iris")
    await registry.deployments.create("iris", [version(1, 90), version(2, 10)], replicas=1)
    (worker,) = await registry.settle(*await joined(registry, 1))
    assert await assigned(registry, worker) == [(("iris", 1), True, ()), (("iris", 2), False, ())]


async def test_a_deleted_deployment_leaves_the_workers(registry: RegistryParts) -> None:
    await registry.push("iris")
    await registry.deployments.create("iris")
    workers = await registry.settle(*await joined(registry))
    await registry.deployments.delete("iris", "")
    workers = await registry.settle(*workers)
    assert not any(worker.slots for worker in workers)
    with pytest.raises(MissingError):
        await registry.deployments.get("iris")


async def test_a_change_of_the_wish_needs_its_etag(registry: RegistryParts) -> None:
    await registry.push("iris")
    seen = (await registry.deployments.create("iris")).wish.etag
    await registry.deployments.update("iris", seen, replicas=1)
    with pytest.raises(StaleError):
        await registry.deployments.update("iris", seen, replicas=3)


async def test_a_version_too_big_for_every_worker_is_failed_with_the_reason(registry: RegistryParts) -> None:
    await registry.push("iris", size_bytes=8 * GIB)
    await registry.deployments.create("iris")
    await registry.settle(*await joined(registry))
    observation = (await registry.deployments.get("iris")).observation
    assert (observation.state, observation.reason) == (DeploymentState.FAILED, "MODEL_TOO_BIG")


async def test_a_watcher_sees_the_deployment_become_ready_and_end(registry: RegistryParts) -> None:
    await registry.push("iris")
    await registry.deployments.create("iris")
    states = registry.deployments.watch("iris")
    assert (await anext(states)).observation.state is DeploymentState.PENDING
    workers = await joined(registry)
    async with asyncio.timeout(10):
        await registry.settle(*workers)
        while (await anext(states)).observation.state is not DeploymentState.READY:
            pass
        await registry.deployments.delete("iris", "")
        with pytest.raises(MissingError):
            await anext(states)


async def test_assignment_revisions_rise_and_stay_while_nothing_changes(registry: RegistryParts) -> None:
    await registry.push("iris")
    await registry.deployments.create("iris", replicas=1)
    (worker,) = await registry.settle(*await joined(registry, 1))
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


async def test_a_silent_worker_is_missed_after_a_whole_lease_and_its_versions_move(
    registry: RegistryParts,
) -> None:
    await registry.push("iris")
    await registry.deployments.create("iris", replicas=1)
    workers = await registry.settle(*await joined(registry, 2))
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
    assert await state(registry) is DeploymentState.READY


async def test_a_clock_that_jumps_ends_no_lease(registry: RegistryParts) -> None:
    await joined(registry)
    await registry.leases.expire(registry.watch)
    registry.clock.jump(3_600)
    await registry.leases.expire(registry.watch)
    page = await registry.leases.list(page_request("workers", 0, ""))
    assert len(page.items) == 3


async def test_a_draining_worker_hands_its_versions_over(registry: RegistryParts) -> None:
    await registry.push("iris")
    await registry.deployments.create("iris", replicas=1)
    workers = await registry.settle(*await joined(registry, 2))
    leaving = replace(next(worker for worker in workers if worker.slots), state=WorkerState.DRAINING)
    other = next(worker for worker in workers if not worker.slots)
    await registry.leases.renew(leaving)
    await registry.placing.reconcile()
    assert await registry.renewed(other) == {("iris", 1)}
    assert await registry.renewed(leaving) == {("iris", 1)}


async def test_a_version_nobody_holds_is_placed_on_demand_and_goes_when_idle(registry: RegistryParts) -> None:
    await registry.push("iris")
    await registry.deployments.create("iris", replicas=0)
    workers = await registry.settle(*await joined(registry))
    assert not any(worker.slots for worker in workers)
    assert await state(registry) is DeploymentState.READY
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
    (worker,) = await joined(registry, 1)
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
    await joined(registry, 1)
    with pytest.raises(OverloadedError) as refusal:
        await registry.demands.demand("models/iris")
    assert refusal.value.reason == "MODEL_TOO_BIG"


async def test_demand_makes_room_by_taking_what_was_demanded_longest_ago(registry: RegistryParts) -> None:
    for model_id in ("a", "b", "c"):
        await registry.push(model_id, size_bytes=MIB)
        await registry.deployments.create(model_id, replicas=0)
    workers = await joined(registry, 1, memory_bytes_max=140 * MIB)
    for model_id in ("a", "b", "c"):
        registry.clock.advance(1)
        await registry.demands.demand(f"models/{model_id}")
        workers = await registry.settle(*workers)
    assert {slot.model_id for slot in workers[0].slots} == {"b", "c"}


async def test_workers_are_nudged_when_their_assignment_changes(registry: RegistryParts) -> None:
    await registry.push("iris")
    await joined(registry, 1)
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
        (worker,) = await registry.settle(*await joined(registry, 1))
        before = (await registry.leases.renew(worker)).assignment
    async with registry_at(database_url) as registry:
        await registry.placing.reconcile()
        assert (await registry.leases.renew(worker)).assignment == before
        assert await state(registry) is DeploymentState.READY

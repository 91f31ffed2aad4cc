"""Deployments, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from servemesh.errors import (
    ConflictError,
    ExistsError,
    InvalidError,
    MissingError,
    StaleError,
)
from servemesh.registry.domain.deployments import Share, TrafficTarget
from servemesh.registry.domain.fleet import Slot, SlotState, Worker
from servemesh.registry.domain.observing import DeploymentState
from tests.harness.registry import GIB, RegistryParts, holding

PROD = TrafficTarget(target="models/iris/aliases/prod", weight_percent=100)


def version(version_id: int, weight_percent: int = 100) -> TrafficTarget:
    return TrafficTarget(target=f"models/iris/versions/{version_id}", weight_percent=weight_percent)


async def test_a_deployment_becomes_ready_on_two_workers(registry: RegistryParts) -> None:
    await registry.push("iris")
    workers = await registry.join()
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
    workers = await registry.join()
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
    assert await registry.state("iris") is DeploymentState.READY


async def test_an_update_to_a_version_that_cannot_be_loaded_keeps_the_old_one(
    registry: RegistryParts,
) -> None:
    await registry.push("iris")
    workers = await registry.settle(
        *await registry.join(),
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
    (worker,) = await registry.settle(*await registry.join(1))
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
    (worker,) = await registry.settle(*await registry.join(1))
    assert await assigned(registry, worker) == [(("iris", 1), True, ()), (("iris", 2), False, ())]


async def test_a_deleted_deployment_leaves_the_workers(registry: RegistryParts) -> None:
    await registry.push("iris")
    await registry.deployments.create("iris")
    workers = await registry.settle(*await registry.join())
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
    await registry.settle(*await registry.join())
    observation = (await registry.deployments.get("iris")).observation
    assert (observation.state, observation.reason) == (DeploymentState.FAILED, "MODEL_TOO_BIG")


async def test_a_watcher_sees_the_deployment_become_ready_and_end(registry: RegistryParts) -> None:
    await registry.push("iris")
    await registry.deployments.create("iris")
    states = registry.deployments.watch("iris")
    assert (await anext(states)).observation.state is DeploymentState.PENDING
    workers = await registry.join()
    async with asyncio.timeout(10):
        await registry.settle(*workers)
        while (await anext(states)).observation.state is not DeploymentState.READY:
            pass
        await registry.deployments.delete("iris", "")
        with pytest.raises(MissingError):
            await anext(states)

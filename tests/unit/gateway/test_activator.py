"""Calls for models that nobody holds."""

import asyncio

import pytest

from servemesh.errors import MissingError, OverloadedError, UnavailableError
from servemesh.gateway.domain.fleet import SlotState
from servemesh.gateway.service.activator import ActivationLimits, Activator
from servemesh.gateway.service.ports import KnownModel
from tests.harness.mesh_fakes import FleetTable, MemoryCatalog, MemoryWorkers, a_slot, a_worker

DIGITS = KnownModel(model="digits", latest_version_id=1, is_deployed=True)


def an_activator(
    fleet: FleetTable, workers: MemoryWorkers, catalog: MemoryCatalog, **limits: float
) -> Activator:
    return Activator(fleet, workers, catalog, ActivationLimits(**limits))  # type: ignore[arg-type]


async def test_a_ready_model_is_answered_without_asking_anybody():
    fleet = FleetTable(a_worker("worker-1", a_slot()))
    catalog = MemoryCatalog()
    holdings = await an_activator(fleet, MemoryWorkers(fleet), catalog).holdings("digits", "")
    assert [holding.worker.worker_id for holding in holdings] == ["worker-1"]
    assert catalog.demands == []


async def test_a_worker_that_is_assigned_the_model_is_told_to_load_it_although_the_registry_is_away():
    fleet = FleetTable(a_worker("worker-1", a_slot(state=SlotState.UNLOADED)))
    workers, catalog = MemoryWorkers(fleet), MemoryCatalog()
    catalog.is_away = True
    await an_activator(fleet, workers, catalog).holdings("digits", "")
    assert workers.loads == [("worker-1:1", "digits", 1)]


async def test_a_load_that_takes_longer_than_one_question_to_the_worker_is_awaited():
    fleet = FleetTable(a_worker("worker-1", a_slot(state=SlotState.UNLOADED)))
    workers = MemoryWorkers(fleet)
    workers.load_is_slow = True
    activator = an_activator(fleet, workers, MemoryCatalog())
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        call = group.create_task(activator.holdings("digits", ""))
        while not workers.loads:
            await asyncio.sleep(0)
        fleet.set(a_worker("worker-1", a_slot(state=SlotState.LOADING)))
        fleet.set(a_worker("worker-1", a_slot()))
    assert len(call.result()) == 1


async def test_a_caller_does_not_wait_for_a_worker_that_hangs_when_another_one_is_ready():
    fleet = FleetTable(a_worker("worker-1", a_slot(state=SlotState.UNLOADED)))
    workers = MemoryWorkers(fleet)
    workers.hanging.add("worker-1:1")
    activator = an_activator(fleet, workers, MemoryCatalog())
    async with asyncio.timeout(2), asyncio.TaskGroup() as group:
        call = group.create_task(activator.holdings("digits", ""))
        while not workers.loads:
            await asyncio.sleep(0)
        fleet.set(a_worker("worker-2", a_slot()))
    assert [holding.worker.worker_id for holding in call.result()] == ["worker-2"]


async def test_a_model_that_nobody_is_assigned_is_demanded_and_awaited():
    fleet = FleetTable(a_worker("worker-1"))
    catalog = MemoryCatalog(DIGITS)
    activator = an_activator(fleet, MemoryWorkers(fleet), catalog)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        calls = [group.create_task(activator.holdings("digits", "")) for _ in range(20)]
        while not catalog.demands:
            await asyncio.sleep(0)
        fleet.set(a_worker("worker-1", a_slot(state=SlotState.LOADING)))
        fleet.set(a_worker("worker-1", a_slot()))
    assert all(len(call.result()) == 1 for call in calls)
    assert catalog.demands == [("digits", "")]


async def test_an_unknown_model_is_not_found_in_the_words_of_triton_and_asked_about_once():
    fleet = FleetTable(a_worker("worker-1"))
    catalog = MemoryCatalog()
    activator = an_activator(fleet, MemoryWorkers(fleet), catalog)
    for _ in range(3):
        with pytest.raises(MissingError, match="Request for unknown model: 'nope' is not found"):
            await activator.holdings("nope", "")
    assert catalog.demands == [("nope", "")]


async def test_without_any_worker_callers_are_told_so_at_once_and_the_registry_is_asked_once():
    fleet = FleetTable()
    catalog = MemoryCatalog(DIGITS)
    catalog.has_workers = False
    activator = an_activator(fleet, MemoryWorkers(fleet), catalog)
    for _ in range(3):
        with pytest.raises(UnavailableError) as refused:
            await activator.holdings("digits", "")
        assert (refused.value.reason, refused.value.retry_after_s) == ("NO_WORKERS", 0.5)
    assert catalog.demands == [("digits", "")]
    fleet.set(a_worker("worker-1", a_slot()))
    assert await activator.holdings("digits", "")


async def test_while_the_registry_is_asked_again_what_it_said_last_is_believed():
    fleet = FleetTable()
    catalog = MemoryCatalog(DIGITS)
    catalog.has_workers = False
    activator = an_activator(fleet, MemoryWorkers(fleet), catalog, unknown_ttl_s=0)
    with pytest.raises(UnavailableError):
        await activator.holdings("digits", "")
    async with asyncio.timeout(5):
        calls = [activator.holdings("digits", "") for _ in range(5)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(outcome, UnavailableError) for outcome in outcomes)
    assert len(catalog.demands) == 2


async def test_a_model_that_failed_everywhere_is_refused_with_the_reason():
    failed = a_slot(state=SlotState.FAILED, reason="ARTIFACT_DAMAGED", message="its bytes are damaged")
    fleet = FleetTable(a_worker("worker-1", failed))
    activator = an_activator(fleet, MemoryWorkers(fleet), MemoryCatalog(DIGITS))
    with pytest.raises(UnavailableError, match="not at ready state: its bytes are damaged") as refused:
        await activator.holdings("digits", "")
    assert refused.value.retry_after_s  # else Envoy would hold the answer against the gateway


async def test_more_waiting_calls_than_allowed_are_refused():
    fleet = FleetTable(a_worker("worker-1"))
    activator = an_activator(fleet, MemoryWorkers(fleet), MemoryCatalog(DIGITS), waiting_calls_max=1)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiting = group.create_task(activator.holdings("digits", ""))
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError):
            await activator.holdings("digits", "")
        fleet.set(a_worker("worker-1", a_slot()))
    assert waiting.result()


async def test_more_waiting_bytes_than_allowed_are_refused():
    fleet = FleetTable(a_worker("worker-1"))
    activator = an_activator(fleet, MemoryWorkers(fleet), MemoryCatalog(DIGITS), waiting_bytes_max=10)
    with pytest.raises(OverloadedError):
        await activator.holdings("digits", "", size_bytes=11)


async def test_a_caller_who_leaves_frees_its_place():
    fleet = FleetTable(a_worker("worker-1"))
    activator = an_activator(fleet, MemoryWorkers(fleet), MemoryCatalog(DIGITS), waiting_calls_max=1)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await activator.holdings("digits", "")

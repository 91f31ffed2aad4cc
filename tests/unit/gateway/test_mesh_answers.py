"""Answers for the whole mesh: index, readiness, load and unload, statistics that never fall."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.errors import MissingError
from servemesh.gateway.domain import repository
from servemesh.gateway.domain.fleet import SlotState
from servemesh.gateway.service.activator import ActivationLimits, Activator
from servemesh.gateway.service.mesh import Mesh, MeshLimits
from servemesh.gateway.service.ports import KnownModel
from servemesh.gateway.service.statistics import MeshStatistics, add
from tests.harness.mesh_fakes import FleetTable, MemoryCatalog, MemoryWorkers, a_slot, a_worker


def a_mesh(fleet: FleetTable, catalog: MemoryCatalog) -> Mesh:
    workers = MemoryWorkers(fleet)
    activator = Activator(fleet, workers, catalog, ActivationLimits(ask_interval_s=0.01))
    return Mesh(fleet, activator, workers, catalog, MeshLimits())


def counted(model: str, version: str, calls: int) -> pb.ModelStatistics:
    statistics = pb.ModelStatistics(name=model, version=version, inference_count=calls, execution_count=calls)
    statistics.inference_stats.success.count = calls
    statistics.inference_stats.queue.count = calls
    statistics.batch_stats.add(batch_size=1).compute_infer.count = calls
    return statistics


async def test_the_index_gives_each_version_its_best_state_and_lists_models_that_are_not_deployed():
    fleet = FleetTable(
        a_worker("worker-1", a_slot("a", 1), a_slot("b", 2, state=SlotState.LOADING)),
        a_worker("worker-2", a_slot("a", 1, state=SlotState.FAILED, message="no room")),
    )
    catalog = MemoryCatalog(KnownModel(model="idle", latest_version_id=4, is_deployed=False))
    entries = await a_mesh(fleet, catalog).index(only_ready=False)
    assert [(entry.model, entry.version_id, entry.state) for entry in entries] == [
        ("a", 1, repository.READY),
        ("b", 2, repository.LOADING),
        ("idle", 4, repository.UNAVAILABLE),
    ]
    assert entries[-1].reason == "not deployed"


async def test_the_index_holds_what_the_fleet_knows_while_the_registry_is_away():
    fleet = FleetTable(a_worker("worker-1", a_slot("a", 1)))
    catalog = MemoryCatalog()
    catalog.is_away = True
    assert [entry.model for entry in await a_mesh(fleet, catalog).index(only_ready=True)] == ["a"]


async def test_readiness_of_an_unknown_model_is_an_error_and_of_a_known_one_a_fact():
    fleet = FleetTable(a_worker("worker-1", a_slot("a", 1), a_slot("b", 1, state=SlotState.WARMING)))
    mesh = a_mesh(fleet, MemoryCatalog())
    assert await mesh.is_model_ready("a", "") is True
    assert await mesh.is_model_ready("b", "") is False
    with pytest.raises(MissingError, match="is not found"):
        await mesh.is_model_ready("c", "")


async def test_loading_a_model_deploys_it_and_returns_when_it_is_ready():
    fleet = FleetTable(a_worker("worker-1"))
    catalog = MemoryCatalog(KnownModel(model="digits", latest_version_id=1, is_deployed=False))
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        loading = group.create_task(a_mesh(fleet, catalog).load("digits"))
        while not catalog.known["digits"].is_deployed:
            await asyncio.sleep(0)
        assert not loading.done()
        fleet.set(a_worker("worker-1", a_slot("digits", 1)))


async def test_unloading_returns_when_no_worker_holds_the_model_even_to_finish_its_calls():
    fleet = FleetTable(a_worker("worker-1", a_slot("digits", 1)))
    catalog = MemoryCatalog(KnownModel(model="digits", latest_version_id=1, is_deployed=True))
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        unloading = group.create_task(a_mesh(fleet, catalog).unload("digits"))
        while catalog.known["digits"].is_deployed:
            await asyncio.sleep(0)
        fleet.set(a_worker("worker-1", a_slot("digits", 1, state=SlotState.DRAINING)))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not unloading.done()
        fleet.set(a_worker("worker-1"))


async def total(statistics: MeshStatistics, model: str = "a") -> int:
    return sum(entry.inference_count for entry in await statistics.total(model, frozenset()))


async def test_statistics_are_summed_and_those_of_a_dead_worker_still_count():
    fleet = FleetTable(a_worker("worker-1"), a_worker("worker-2"))
    workers = MemoryWorkers(fleet)
    workers.statistics = {"worker-1:1": [counted("a", "1", 10)], "worker-2:1": [counted("a", "1", 5)]}
    statistics = MeshStatistics(fleet, workers, interval_s=1, timeout_s=1)
    assert await total(statistics) == 15
    workers.down = {"worker-1:1"}
    assert await total(statistics) == 15
    fleet.set(a_worker("worker-2"))
    assert await total(statistics) == 15
    workers.statistics["worker-2:1"] = [counted("a", "1", 9)]
    assert await total(statistics) == 19


async def test_a_reloaded_model_that_counts_from_zero_does_not_lower_the_sum():
    fleet = FleetTable(a_worker("worker-1"))
    workers = MemoryWorkers(fleet)
    statistics = MeshStatistics(fleet, workers, interval_s=1, timeout_s=1)
    seen = []
    for calls in (10, 3, 7, 1):
        workers.statistics = {"worker-1:1": [counted("a", "1", calls)]}
        seen.append(await total(statistics))
    assert seen == [10, 13, 17, 18]


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 100)), max_size=8))
def test_sums_do_not_depend_on_order_and_lose_nothing(parts: list[tuple[int, int]]):
    forwards, backwards = pb.ModelStatistics(), pb.ModelStatistics()
    messages = []
    for size, calls in parts:
        message = counted("a", "1", calls)
        message.batch_stats[0].batch_size = size
        messages.append(message)
    for message in messages:
        add(forwards, message)
    for message in reversed(messages):
        add(backwards, message)
    assert forwards == backwards
    assert forwards.inference_count == sum(calls for _, calls in parts)
    assert sum(batch.compute_infer.count for batch in forwards.batch_stats) == forwards.inference_count


class SlowToTell(MemoryWorkers):
    """Workers whose first answer about statistics is given, and then comes late."""

    def __init__(self, fleet: FleetTable) -> None:
        super().__init__(fleet)
        self.asked = asyncio.Event()
        self.let = asyncio.Event()

    async def model_statistics(self, address: str, *, timeout_s: float) -> pb.ModelStatisticsResponse:
        answer = await super().model_statistics(address, timeout_s=timeout_s)
        if not self.asked.is_set():
            self.asked.set()
            await self.let.wait()
        return answer


@pytest.mark.parametrize("leaves", [False, True])
async def test_an_answer_that_comes_late_is_not_counted_a_second_time(leaves: bool):
    fleet = FleetTable(a_worker("worker-1"))
    workers = SlowToTell(fleet)
    workers.statistics = {"worker-1:1": [counted("a", "1", 5)]}
    statistics = MeshStatistics(fleet, workers, interval_s=1, timeout_s=1)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(total(statistics))
        await workers.asked.wait()
        workers.statistics = {"worker-1:1": [counted("a", "1", 9)]}
        assert await total(statistics) == 9
        if leaves:
            fleet.set()
            assert await total(statistics) == 9
        workers.let.set()
    assert await total(statistics) == 9

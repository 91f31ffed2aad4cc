"""A large mesh: the workers are cut into several clusters of Envoy, and no call notices."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from servemesh.gateway.domain.snapshot.cutting import cluster_of
from servemesh.gateway.domain.snapshot.values import Endpoint, Split
from tests.harness.edge import Edge, holding, running_edge
from tests.harness.oip_worker import oip_worker

CLUSTERS = 4
NAMES = [f"model-{number}" for number in range(12)]


async def cut(
    edge: Edge, endpoints: Sequence[Endpoint], *splits: Split, cuts: tuple[int, ...] = (4, 1)
) -> None:
    await edge.put(replace(edge.snapshot, endpoints=tuple(endpoints), splits=splits, cuts=cuts))


async def until_healthy_in(edge: Edge, clusters: int) -> None:
    """Wait until workers have been found healthy in that many clusters, beside the gateway in each."""
    names = f"workers.*of-{clusters}" if clusters > 1 else "workers"
    async with asyncio.timeout(10):
        while True:
            lines = await asyncio.to_thread(
                edge.envoy.page, f"/stats?filter=^cluster.{names}.membership_healthy$"
            )
            if sum(int(line.rpartition(":")[2]) >= 2 for line in lines.splitlines()) == clusters:
                return


async def until_served(edge: Edge, names: Sequence[str], by: str) -> None:
    for name in names:
        await edge.until_answered_by(by, name)


async def test_each_model_is_found_in_its_cluster(tmp_path: Path) -> None:
    async with oip_worker("one") as one, oip_worker("two") as two, running_edge(tmp_path) as edge:
        mine, others = NAMES[:6], NAMES[6:]
        slots = [f"{name}/{version}" for name in mine for version in ("1", "prod")]
        await cut(edge, [holding(one, models=mine, slots=slots), holding(two, models=others)])
        await until_served(edge, mine, "one")
        await until_served(edge, others, "two")
        assert {cluster_of(name, CLUSTERS) for name in mine} == set(range(CLUSTERS))
        assert [await edge.answered_by(name, "prod") for name in mine] == ["one"] * len(mine)
        assert (await edge.infer(NAMES[0])).parameters["x-servemesh-model"].string_param == NAMES[0]


async def test_what_nobody_holds_goes_to_the_gateway_in_every_cluster(tmp_path: Path) -> None:
    async with oip_worker("one") as one, running_edge(tmp_path) as edge:
        await cut(edge, [holding(one, models=NAMES[:1], slots=[f"{NAMES[0]}/1"])])
        await edge.until_answered_by("one", NAMES[0])
        assert {await edge.answered_by(name) for name in (*NAMES[1:], "Not a name")} == {"gateway"}
        assert await edge.answered_by(NAMES[0], "9") == "gateway"


async def test_calls_without_version_are_shared_in_a_cluster_too(tmp_path: Path) -> None:
    async with oip_worker("one") as one, oip_worker("two") as two, running_edge(tmp_path) as edge:
        split = Split(model="iris", slots=("iris/1", "iris/2"), up_to_percent=(50, 100))
        holders = [holding(one, slots=["iris/1"]), holding(two, slots=["iris/2"])]
        await cut(edge, holders, split)
        await edge.until_answered_by("one", "iris", "1")
        await edge.until_answered_by("two", "iris", "2")
        counts = Counter([await edge.answered_by("iris") for _ in range(60)])
        assert set(counts) == {"one", "two"}


async def test_a_worker_that_is_gone_costs_no_call_in_a_cluster_either(tmp_path: Path) -> None:
    async with oip_worker("one") as one, running_edge(tmp_path) as edge:
        async with oip_worker("two") as two:
            await cut(edge, [holding(one, models=NAMES), holding(two, models=NAMES)])
            for name in NAMES:
                await edge.until_answered_by("one", name)
                await edge.until_answered_by("two", name)
        assert {await edge.answered_by(name) for name in NAMES * 3} == {"one"}


async def test_no_call_fails_while_the_number_of_clusters_changes(tmp_path: Path) -> None:
    async with oip_worker("one") as one, running_edge(tmp_path) as edge:
        endpoints = [holding(one, models=NAMES)]
        await edge.publish(endpoints)
        await until_served(edge, NAMES, "one")
        is_over = asyncio.Event()

        async def call() -> Counter[str]:
            answers: Counter[str] = Counter()
            while not is_over.is_set():
                for name in NAMES:
                    answers[await edge.answered_by(name)] += 1
            return answers

        async with asyncio.TaskGroup() as group:
            calling = group.create_task(call())
            for cuts in ((2, 1), (8, 2), (1, 8)):
                await cut(edge, endpoints, cuts=cuts)
                await until_healthy_in(edge, cuts[0])
            is_over.set()
        assert set(calling.result()) == {"one"}

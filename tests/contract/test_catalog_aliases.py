"""Aliases and their history, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

import pytest

from servemesh.errors import ConflictError, MissingError, StaleError
from servemesh.paging import page_request
from servemesh.registry.domain.deployments import TrafficTarget
from tests.harness.registry import START, RegistryParts, registry_at

ALL = page_request("moves", 1_000, "")


async def where(registry: RegistryParts, after_s: float) -> int | None:
    try:
        alias = await registry.aliases.get("iris", "prod", START + timedelta(seconds=after_s))
    except MissingError:
        return None
    return alias.version_id


@pytest.mark.parametrize("seed", range(3))
async def test_any_moment_of_the_past_can_be_asked_about(registry: RegistryParts, seed: int) -> None:
    chances = random.Random(seed)
    for _ in range(3):
        await registry.push("iris")
    truth: dict[float, int | None] = {-1.0: None}
    moment_s, now = 0.0, None
    for _ in range(20):
        version_id = chances.choice([1, 2, 3, None])
        if version_id is not None:
            await registry.aliases.set("iris", "prod", version_id, "")
        elif now is not None:
            await registry.aliases.delete("iris", "prod", "")
        now = version_id
        truth[moment_s] = now
        length_s = chances.choice([1.0, 60.0, 86_400.0])
        registry.clock.advance(length_s)
        truth[moment_s + length_s / 2] = now
        moment_s += length_s
    for asked_s, expected in truth.items():
        assert await where(registry, asked_s) == expected


async def test_history_never_runs_backwards_although_the_clock_does(registry: RegistryParts) -> None:
    await registry.push("iris")
    await registry.push("iris")
    first = await registry.aliases.set("iris", "prod", 1, "")
    registry.clock.jump(-600)
    second = await registry.aliases.set("iris", "prod", 2, first.etag)
    assert second.update_time > first.update_time
    moves = (await registry.aliases.list_moves("iris", "prod", ALL)).items
    assert [move.version_id for move in moves] == [2, 1]


async def test_the_history_outlives_the_alias_and_its_etags_do_not_come_back(registry: RegistryParts) -> None:
    await registry.push("iris")
    first = await registry.aliases.set("iris", "prod", 1, "new")
    await registry.aliases.delete("iris", "prod", first.etag)
    again = await registry.aliases.set("iris", "prod", 1, "new")
    assert again.etag != first.etag
    with pytest.raises(StaleError):
        await registry.aliases.set("iris", "prod", 1, first.etag)
    moves = (await registry.aliases.list_moves("iris", "prod", ALL)).items
    assert [move.version_id for move in moves] == [1, None, 1]


async def test_new_means_that_there_is_none(registry: RegistryParts) -> None:
    await registry.push("iris")
    await registry.aliases.set("iris", "prod", 1, "new")
    with pytest.raises(StaleError):
        await registry.aliases.set("iris", "prod", 1, "new")


async def test_an_alias_points_to_what_there_is(registry: RegistryParts) -> None:
    await registry.push("iris")
    with pytest.raises(MissingError):
        await registry.aliases.set("iris", "prod", 2, "")
    with pytest.raises(MissingError):
        await registry.aliases.list_moves("iris", "prod", ALL)


async def test_an_alias_that_a_deployment_follows_is_not_deleted(registry: RegistryParts) -> None:
    await registry.push("iris")
    await registry.aliases.set("iris", "prod", 1, "")
    await registry.deployments.create(
        "iris", [TrafficTarget(target="models/iris/aliases/prod", weight_percent=100)]
    )
    with pytest.raises(ConflictError):
        await registry.aliases.delete("iris", "prod", "")


async def test_of_many_who_move_one_alias_at_two_registries_one_wins_each_round(database_url: str) -> None:
    async with registry_at(database_url) as one, registry_at(database_url) as two:
        for _ in range(2):
            await one.push("iris")
        etag = (await one.aliases.set("iris", "prod", 1, "new")).etag
        for round_ in range(5):

            async def move(number: int, etag: str = etag, version_id: int = 1 + round_ % 2) -> str | None:
                try:
                    moved = await (one, two)[number % 2].aliases.set("iris", "prod", version_id, etag)
                except StaleError:
                    return None
                return moved.etag

            async with asyncio.TaskGroup() as group:
                tries = [group.create_task(move(number)) for number in range(64)]
            winners = [each.result() for each in tries if each.result() is not None]
            assert len(winners) == 1
            etag = winners[0] or ""
        assert len((await one.aliases.list_moves("iris", "prod", ALL)).items) == 6

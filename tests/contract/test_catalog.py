"""Models and Versions, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace

import pytest

from servemesh.errors import (
    ConflictError,
    ExistsError,
    InvalidError,
    MissingError,
    OverloadedError,
    StaleError,
)
from servemesh.paging import page_request
from servemesh.registry.domain.limits import Limits
from servemesh.requests import RequestKey
from tests.harness.registry import RegistryParts, registry_at


def a_request(sha256: str = "one") -> RequestKey:
    return RequestKey(request_id=str(uuid.uuid4()), sha256=sha256)


async def test_a_model_is_read_as_it_was_created(registry: RegistryParts) -> None:
    created = await registry.catalog.create_model("iris", "flowers", {"team": "a"})
    assert await registry.catalog.get_model("iris") == created
    assert (created.description, created.labels, created.latest_version_id) == ("flowers", {"team": "a"}, 0)


async def test_a_model_is_created_once(registry: RegistryParts) -> None:
    await registry.catalog.create_model("iris", "", {})
    with pytest.raises(ExistsError):
        await registry.catalog.create_model("iris", "", {})


async def test_a_repeated_request_gets_the_first_answer(registry: RegistryParts) -> None:
    request = a_request()
    first = await registry.catalog.create_model("iris", "flowers", {}, request)
    await registry.catalog.update_model("iris", "", "changed since", None)
    assert await registry.catalog.create_model("iris", "flowers", {}, request) == first


async def test_a_request_id_with_other_arguments_is_refused(registry: RegistryParts) -> None:
    request = a_request()
    await registry.catalog.create_model("iris", "flowers", {}, request)
    with pytest.raises(ConflictError) as refusal:
        await registry.catalog.create_model("wine", "", {}, replace(request, sha256="two"))
    assert refusal.value.reason == "REQUEST_ID_REUSED"


async def test_a_request_id_of_another_kind_of_call_is_refused(registry: RegistryParts) -> None:
    request = a_request()
    await registry.push("iris")
    await registry.aliases.set("iris", "prod", 1, "", request)
    with pytest.raises(ConflictError) as refusal:
        await registry.catalog.create_model("wine", "", {}, request)
    assert refusal.value.reason == "REQUEST_ID_REUSED"


async def test_a_refused_call_leaves_its_request_id_free(registry: RegistryParts) -> None:
    request = a_request()
    with pytest.raises(MissingError):
        await registry.aliases.set("iris", "prod", 1, "", request)
    await registry.push("iris")
    assert (await registry.aliases.set("iris", "prod", 1, "", request)).version_id == 1


async def test_a_change_needs_the_etag_of_what_it_changes(registry: RegistryParts) -> None:
    seen = await registry.catalog.create_model("iris", "", {})
    changed = await registry.catalog.update_model("iris", seen.etag, "new", None)
    assert changed.etag != seen.etag
    with pytest.raises(StaleError):
        await registry.catalog.update_model("iris", seen.etag, "too late", None)
    assert (await registry.catalog.get_model("iris")).description == "new"


async def test_versions_count_up_and_are_listed_newest_first(registry: RegistryParts) -> None:
    for _ in range(3):
        await registry.push("iris")
    page = await registry.catalog.list_versions("iris", page_request("s", 0, ""))
    assert [version.version_id for version in page.items] == [3, 2, 1]
    assert (await registry.catalog.get_model("iris")).latest_version_id == 3


async def test_a_version_id_is_never_used_twice(registry: RegistryParts) -> None:
    await registry.push("iris")
    await registry.push("iris")
    await registry.catalog.delete_version("iris", 2)
    assert (await registry.catalog.get_model("iris")).latest_version_id == 1
    assert (await registry.push("iris")).version_id == 3
    await registry.catalog.delete_model("iris", "")
    assert (await registry.push("iris")).version_id == 4


async def test_a_version_is_published_with_all_that_was_found(registry: RegistryParts) -> None:
    pushed = await registry.push("iris")
    assert await registry.catalog.get_version("iris", 1) == pushed
    await registry.aliases.set("iris", "prod", 1, "")
    assert await registry.catalog.get_named_version("models/iris/aliases/prod") == pushed


async def test_a_version_in_use_is_not_deleted(registry: RegistryParts) -> None:
    await registry.push("iris")
    await registry.aliases.set("iris", "prod", 1, "")
    with pytest.raises(ConflictError) as refusal:
        await registry.catalog.delete_version("iris", 1)
    assert refusal.value.metadata["used_by"] == "models/iris/aliases/prod"
    await registry.aliases.delete("iris", "prod", "")
    await registry.deployments.create("iris")
    with pytest.raises(ConflictError) as refusal:
        await registry.catalog.delete_version("iris", 1)
    assert refusal.value.metadata["used_by"] == "deployments/iris"


async def test_a_deployed_model_is_not_deleted(registry: RegistryParts) -> None:
    await registry.push("iris")
    await registry.deployments.create("iris")
    with pytest.raises(ConflictError):
        await registry.catalog.delete_model("iris", "")
    await registry.deployments.delete("iris", "")
    await registry.catalog.delete_model("iris", "")
    with pytest.raises(MissingError):
        await registry.catalog.get_version("iris", 1)


async def test_pages_join_to_the_whole_list(registry: RegistryParts) -> None:
    for number in range(7):
        await registry.catalog.create_model(f"m{number}", "", {})
    seen, token = [], ""
    while True:
        page = await registry.catalog.list_models(page_request("models", 3, token))
        seen += [model.model_id for model in page.items]
        token = page.next_page_token
        if not token:
            break
    assert seen == [f"m{number}" for number in range(7)]


async def test_limits_are_kept(database_url: str) -> None:
    async with registry_at(database_url, Limits(models_max=1, versions_max=1, aliases_max=1)) as registry:
        await registry.push("iris")
        await registry.aliases.set("iris", "prod", 1, "")
        with pytest.raises(OverloadedError):
            await registry.catalog.create_model("wine", "", {})
        with pytest.raises(OverloadedError):
            await registry.push("iris")
        with pytest.raises(OverloadedError):
            await registry.aliases.set("iris", "canary", 1, "")
        with pytest.raises(InvalidError):
            await registry.catalog.update_model("iris", "", None, {"Bad Key": ""})


async def test_of_many_who_create_one_model_at_two_registries_one_wins(database_url: str) -> None:
    async with registry_at(database_url) as one, registry_at(database_url) as two:

        async def create(number: int) -> bool:
            try:
                await (one, two)[number % 2].catalog.create_model("iris", "", {})
            except ExistsError:
                return False
            return True

        async with asyncio.TaskGroup() as group:
            tries = [group.create_task(create(number)) for number in range(64)]
    assert sum(each.result() for each in tries) == 1


async def test_of_many_who_change_what_they_saw_one_wins(database_url: str) -> None:
    async with registry_at(database_url) as one, registry_at(database_url) as two:
        seen = await one.catalog.create_model("iris", "", {})

        async def change(number: int) -> bool:
            try:
                await (one, two)[number % 2].catalog.update_model("iris", seen.etag, f"by {number}", None)
            except StaleError:
                return False
            return True

        async with asyncio.TaskGroup() as group:
            tries = [group.create_task(change(number)) for number in range(64)]
    assert sum(each.result() for each in tries) == 1


async def test_pushes_at_the_same_time_get_ids_without_gaps(database_url: str) -> None:
    async with (
        registry_at(database_url) as one,
        registry_at(database_url) as two,
        asyncio.TaskGroup() as group,
    ):
        pushes = [group.create_task((one, two)[number % 2].push("iris")) for number in range(20)]
    assert sorted(push.result().version_id for push in pushes) == list(range(1, 21))


async def test_one_request_sent_many_times_at_once_acts_once(database_url: str) -> None:
    request = a_request()
    async with (
        registry_at(database_url) as one,
        registry_at(database_url) as two,
        asyncio.TaskGroup() as group,
    ):
        calls = [
            group.create_task((one, two)[number % 2].catalog.create_model("iris", "", {}, request))
            for number in range(16)
        ]
    assert len({call.result().etag for call in calls}) == 1

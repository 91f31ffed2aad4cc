"""What a Version was made from, and that a commit that is repeated makes no second one; on both databases."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest

from servemesh.errors import ConflictError, InvalidError, MissingError
from servemesh.registry.domain.admission import Admitted
from servemesh.registry.domain.models import ArtifactFile, ModelVersion
from servemesh.registry.domain.uploads import SOURCES_MAX, Upload, checked_sources
from tests.harness.registry import SIGNATURE, START, RegistryParts

ADMITTED = Admitted(entry_path="model.onnx", signature=SIGNATURE)


def an_upload(*source_versions: str, sha256: str = "cd" * 32) -> Upload:
    return Upload(
        model_id="small",
        upload_id=f"u{uuid.uuid4().hex}",
        files=(ArtifactFile(path="model.onnx", size_bytes=1, sha256=sha256),),
        source_versions=source_versions,
        create_time=START,
        expire_time=START + timedelta(hours=1),
    )


async def opened(registry: RegistryParts, upload: Upload, request_id: str = "") -> Upload:
    return await registry.publishing.create_upload(upload, request_id=request_id, open_max=100)


async def committed(registry: RegistryParts, upload: Upload, request_id: str = "") -> ModelVersion:
    return await registry.publishing.commit_upload(upload, ADMITTED, now=START, request_id=request_id)


async def test_a_version_knows_the_versions_it_was_made_from(registry: RegistryParts) -> None:
    sources = ((await registry.push("large")).name, (await registry.push("teacher")).name)
    version = await committed(registry, await opened(registry, an_upload(*sources)))
    assert version.source_versions == sources
    assert await registry.catalog.get_version("small", 1) == version


async def test_a_source_must_exist_when_the_upload_is_opened(registry: RegistryParts) -> None:
    await registry.push("large")
    with pytest.raises(MissingError) as refusal:
        await opened(registry, an_upload("models/large/versions/2"))
    assert (refusal.value.reason, refusal.value.metadata["name"]) == (
        "VERSION_MISSING",
        "models/large/versions/2",
    )


async def test_lineage_outlives_what_it_names(registry: RegistryParts) -> None:
    source, request_id = await registry.push("large"), str(uuid.uuid4())
    upload = await opened(registry, an_upload(source.name), request_id)
    await registry.catalog.delete_model("large", "")
    assert (
        await opened(registry, an_upload(source.name), request_id) == upload
    )  # asked before, answered again
    assert (await committed(registry, upload)).source_versions == (source.name,)


async def test_a_request_id_with_other_sources_is_refused(registry: RegistryParts) -> None:
    source, request_id = await registry.push("large"), str(uuid.uuid4())
    await opened(registry, an_upload(), request_id)
    with pytest.raises(ConflictError) as refusal:
        await opened(registry, an_upload(source.name), request_id)
    assert refusal.value.reason == "REQUEST_ID_REUSED"


async def test_a_repeated_commit_gives_the_same_version_even_through_another_upload(
    registry: RegistryParts,
) -> None:
    request_id = str(uuid.uuid4())
    first = await committed(registry, await opened(registry, an_upload()), request_id)
    again = await opened(registry, an_upload())
    assert await committed(registry, again, request_id) == first
    assert await committed(registry, again) == first  # that upload is this version now
    assert (await committed(registry, await opened(registry, an_upload()))).version_id == 2


async def test_of_commits_at_once_with_one_request_id_one_makes_the_version(registry: RegistryParts) -> None:
    request_id = str(uuid.uuid4())
    uploads = [await opened(registry, an_upload()) for _ in range(4)]
    async with asyncio.TaskGroup() as group:
        commits = [group.create_task(committed(registry, upload, request_id)) for upload in uploads]
    assert {commit.result().version_id for commit in commits} == {1}


async def test_a_commit_s_request_id_with_other_files_is_refused(registry: RegistryParts) -> None:
    request_id = str(uuid.uuid4())
    await committed(registry, await opened(registry, an_upload()), request_id)
    for other in (an_upload(sha256="ef" * 32), replace(an_upload(), model_id="other")):
        with pytest.raises(ConflictError) as refusal:
            await committed(registry, await opened(registry, other), request_id)
        assert refusal.value.reason == "REQUEST_ID_REUSED"


async def test_after_its_version_is_deleted_a_request_id_makes_a_new_one(registry: RegistryParts) -> None:
    request_id = str(uuid.uuid4())
    first = await committed(registry, await opened(registry, an_upload()), request_id)
    await registry.catalog.delete_version("small", first.version_id)
    second = await committed(registry, await opened(registry, an_upload()), request_id)
    assert second.version_id == first.version_id + 1


def test_sources_are_names_of_versions_each_once_and_not_too_many() -> None:
    name = "models/large/versions/1"
    assert checked_sources([name, name]) == (name,)
    for wrong in (["models/large"], ["models/large/aliases/prod"], ["large"], [""]):
        with pytest.raises(InvalidError):
            checked_sources(wrong)
    with pytest.raises(InvalidError, match="at most 16"):
        checked_sources([f"models/large/versions/{number}" for number in range(1, SOURCES_MAX + 2)])

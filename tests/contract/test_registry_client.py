"""The optimizer's registry client against a real registry over gRPC, and its folders on disk."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from servemesh.blobs.memory import MemoryStore
from servemesh.cli.commands.models import app
from servemesh.errors import ConflictError, DamagedError, InvalidError, MissingError, OverloadedError
from servemesh.events.memory import MemoryBus
from servemesh.optimizer.adapters.blob_folders import BlobFolders, FolderSettings
from servemesh.optimizer.adapters.registry_client import RegistryClient, RegistrySettings
from servemesh.optimizer.adapters.work_folders import work_folder
from servemesh.optimizer.domain.records import StoredFile
from servemesh.registry.main import serve
from servemesh.registry.settings import Settings
from tests.harness import hostile_files, models
from tests.harness.served import served
from tests.harness.waiting import eventually

MODEL = models.mlp().SerializeToString()
ROOM = FolderSettings(disk_free_bytes_min=0)


@pytest.fixture
def blobs() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def address(tmp_path: Path, blobs: MemoryStore) -> AsyncIterator[str]:
    async with served(serve, Settings(data_dir=tmp_path / "registry"), MemoryBus(), blobs, "") as address:
        yield address


@pytest.fixture
async def registry(address: str, blobs: MemoryStore) -> AsyncIterator[RegistryClient]:
    settings = RegistrySettings(addresses=(address,))
    async with RegistryClient.running(settings, blobs, ROOM) as client:
        yield client


def a_folder(folder: Path, files: dict[str, bytes]) -> Path:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


async def registered(
    registry: RegistryClient, folder: Path, *sources: str, request_id: str = "", model: str = "models/net"
) -> str:
    return await registry.register(
        model,
        folder,
        source_versions=sources,
        labels={"servemesh.recipe": "int8"},
        request_id=request_id or str(uuid.uuid4()),
    )


async def test_a_folder_becomes_a_version_and_comes_back(registry, tmp_path):
    files = {
        "model.onnx": hostile_files.with_external_data("data/w.bin").SerializeToString(),
        "data/w.bin": bytes(64),
    }
    name = await registered(registry, a_folder(tmp_path / "in", files))
    fetched = await registry.fetch(name, tmp_path / "out")
    assert (fetched.name, fetched.entry) == ("models/net/versions/1", "model.onnx")
    assert fetched.size_bytes == sum(map(len, files.values()))
    assert fetched.labels == {"servemesh.recipe": "int8"}
    assert {path: (tmp_path / "out" / path).read_bytes() for path in files} == files


async def test_the_same_request_id_gives_the_same_version(registry, tmp_path):
    folder, request_id = a_folder(tmp_path / "in", {"model.onnx": MODEL}), str(uuid.uuid4())
    first = await registered(registry, folder, request_id=request_id)
    assert await registered(registry, folder, request_id=request_id) == first
    assert await registered(registry, folder) == "models/net/versions/2"


async def test_registering_at_once_makes_one_version(registry, tmp_path):
    folder, request_id = a_folder(tmp_path / "in", {"model.onnx": MODEL}), str(uuid.uuid4())
    async with asyncio.TaskGroup() as group:
        made = [group.create_task(registered(registry, folder, request_id=request_id)) for _ in range(3)]
    assert {task.result() for task in made} == {"models/net/versions/1"}


async def test_a_request_id_with_other_bytes_is_refused(registry, tmp_path):
    request_id = str(uuid.uuid4())
    await registered(registry, a_folder(tmp_path / "a", {"model.onnx": MODEL}), request_id=request_id)
    other = a_folder(tmp_path / "b", {"model.onnx": models.identity().SerializeToString()})
    with pytest.raises(ConflictError) as refused:
        await registered(registry, other, request_id=request_id)
    assert refused.value.reason == "REQUEST_ID_REUSED"


async def test_lineage_must_exist(registry, tmp_path):
    folder = a_folder(tmp_path / "in", {"model.onnx": MODEL})
    source = await registered(registry, folder)
    await registered(registry, folder, source, model="models/small")
    with pytest.raises(MissingError) as refused:
        await registered(registry, folder, "models/net/versions/7", model="models/small")
    assert refused.value.reason == "VERSION_MISSING"


async def test_the_command_line_shows_what_a_version_was_made_from(registry, address, tmp_path):
    folder = a_folder(tmp_path / "in", {"model.onnx": MODEL})
    await registered(registry, folder, await registered(registry, folder), model="models/small")
    arguments = ["show", "small", "--address", address]
    shown = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    assert "net@1" in shown.output
    shown = await asyncio.to_thread(CliRunner().invoke, app, [*arguments, "--json"])
    assert json.loads(shown.output)["versions"][0]["source_versions"] == ["models/net/versions/1"]


async def test_what_is_no_model_is_refused_with_its_reason(registry, tmp_path):
    with pytest.raises(InvalidError) as refused:
        await registered(registry, a_folder(tmp_path / "in", {"model.onnx": b"no model"}))
    assert refused.value.reason == "UNSUPPORTED_FORMAT"


async def test_an_alias_is_pointed_and_followed(registry, tmp_path):
    folder, alias = a_folder(tmp_path / "in", {"model.onnx": MODEL}), "models/net/aliases/prod"
    first, second = [await registered(registry, folder) for _ in range(2)]
    for version in (first, second, second):
        await registry.set_alias(alias, version)
        assert await registry.resolve(alias) == version
    assert await registry.resolve(first) == first
    with pytest.raises(MissingError):
        await registry.resolve("models/net/aliases/none")
    with pytest.raises(InvalidError):
        await registry.resolve("net")


async def test_damaged_bytes_never_reach_the_folder(registry, blobs, tmp_path):
    name = await registered(registry, a_folder(tmp_path / "in", {"model.onnx": MODEL}))
    async for blob in blobs.list_blobs("blobs/"):
        blobs.corrupt(blob.key, bytes(len(MODEL)))
    with pytest.raises(DamagedError):
        await registry.fetch(name, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


async def test_files_that_do_not_fit_are_not_begun(blobs, tmp_path):
    file = StoredFile(path="a", size_bytes=1, sha256=hashlib.sha256(b"x").hexdigest(), key="a")
    folders = BlobFolders(blobs, FolderSettings(disk_free_bytes_min=2**62))
    with pytest.raises(OverloadedError) as refused:
        await folders.fetch([file], tmp_path / "out")
    assert refused.value.reason == "DISK_FULL"


@pytest.mark.parametrize("path", ["../a", "/etc/a", "a/../../b", ""])
async def test_paths_that_leave_the_folder_are_refused(blobs, tmp_path, path):
    file = StoredFile(path=path, size_bytes=1, sha256="0" * 64, key="a")
    with pytest.raises(DamagedError) as refused:
        await BlobFolders(blobs, ROOM).fetch([file], tmp_path / "out")
    assert refused.value.reason == "PATH_OUTSIDE"


async def test_the_work_folder_is_gone_afterwards(tmp_path):
    async with work_folder(tmp_path) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("left")
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


async def test_what_a_killed_process_left_is_swept_and_what_a_living_one_uses_is_not(tmp_path):
    program = f"""
import asyncio
from pathlib import Path
from servemesh.optimizer.adapters.work_folders import work_folder

async def main():
    async with work_folder(Path({str(tmp_path)!r})) as folder:
        (folder / "work").touch()
        await asyncio.sleep(60)

asyncio.run(main())
"""
    other = started(program)
    try:
        await eventually(lambda: bool(list(tmp_path.rglob("work"))), timeout_s=20.0)
        async with work_folder(tmp_path):
            assert list(tmp_path.rglob("work"))
    finally:
        other.kill()
        other.wait()
    async with work_folder(tmp_path):
        assert not list(tmp_path.rglob("work"))


def started(program: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", program])

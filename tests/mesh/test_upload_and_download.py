"""Uploads over real gRPC: what is acknowledged is kept, what is wrong is refused, what is published is right."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from servemesh.api.registry.v1 import registry_pb2 as pb
from servemesh.blobs.keys import blob_key
from servemesh.blobs.memory import MemoryStore
from servemesh.errors import ServemeshError
from servemesh.registry.domain.uploads import UploadLimits
from servemesh.rpc import edge
from tests.harness import hostile_files, models
from tests.harness.registry_uploads import SetClock, UploadBench, pieces, upload_bench
from tests.harness.streamed import streamed
from tests.harness.waiting import eventually

MODEL = models.mlp().SerializeToString()
SECOND_HALF = len(MODEL) // 2


@pytest.fixture
def blobs() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def bench(tmp_path: Path, blobs: MemoryStore) -> AsyncIterator[UploadBench]:
    async with upload_bench(tmp_path, blobs) as running:
        yield running


async def refusal(awaitable) -> tuple[grpc.StatusCode, ServemeshError]:
    with pytest.raises(grpc.RpcError) as refused:
        await awaitable
    return refused.value.code(), edge.from_rpc_error(refused.value)


async def received(bench: UploadBench, upload: pb.Upload) -> list[int]:
    response = await bench.registry.GetUpload(pb.GetUploadRequest(name=upload.name))
    return list(response.upload.received_bytes)


async def test_what_was_pushed_is_a_version_and_comes_back_byte_for_byte(bench):
    files = {
        "model.onnx": hostile_files.with_external_data("w.bin").SerializeToString(),
        "w.bin": bytes(64),
        "notes/empty.txt": b"",
    }
    version = await bench.pushed(files)
    assert (version.name, version.entry_path) == ("models/net/versions/1", "model.onnx")
    assert {file.path: file.sha256 for file in version.files} == {
        path: hashlib.sha256(data).hexdigest() for path, data in files.items()
    }
    assert {path: await bench.read(version, path) for path in files} == files
    assert await bench.staging.list_uploads() == []


async def test_lineage_is_kept_and_a_commit_with_its_id_can_be_repeated(bench):
    source = await bench.pushed({"model.onnx": MODEL})
    digest = hashlib.sha256(MODEL).hexdigest()
    file = pb.ArtifactFile(path="model.onnx", size_bytes=len(MODEL), sha256=digest)
    wish = pb.Upload(files=[file], source_versions=[source.name])
    versions, request_id = [], str(uuid.uuid4())
    for _ in range(2):
        request = pb.CreateUploadRequest(parent="models/small", upload=wish)
        upload = (await bench.registry.CreateUpload(request)).upload
        assert list(upload.source_versions) == [source.name]
        await bench.sent(upload, "model.onnx", MODEL)
        commit = pb.CommitUploadRequest(name=upload.name, request_id=request_id)
        versions.append((await bench.registry.CommitUpload(commit)).model_version)
    assert versions[0] == versions[1]
    assert list(versions[0].source_versions) == [source.name]
    request.upload.source_versions[:] = ["models/small/versions/9"]
    code, error = await refusal(bench.registry.CreateUpload(request))
    assert (code, error.reason) == (grpc.StatusCode.NOT_FOUND, "VERSION_MISSING")
    code, error = await refusal(
        bench.registry.CommitUpload(pb.CommitUploadRequest(name=upload.name, request_id="7"))
    )
    assert (code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_MALFORMED")


async def test_a_download_goes_on_from_an_offset(bench):
    version = await bench.pushed({"model.onnx": MODEL})
    assert await bench.read(version, "model.onnx", 1_000) == MODEL[1_000:]
    assert await bench.read(version, "model.onnx", len(MODEL)) == b""
    code, error = await refusal(bench.read(version, "model.onnx", len(MODEL) + 1))
    assert (code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "OFFSET_OUT_OF_RANGE")
    code, _ = await refusal(bench.read(version, "other.onnx"))
    assert code == grpc.StatusCode.NOT_FOUND


async def test_an_upload_goes_on_where_it_stopped_after_a_restart(tmp_path, blobs):
    async with upload_bench(tmp_path, blobs) as before:
        upload = await before.opened({"model.onnx": MODEL})
        await before.sent(upload, "model.onnx", MODEL[:SECOND_HALF])
    async with upload_bench(tmp_path, blobs) as after:
        assert await received(after, upload) == [SECOND_HALF]
        await after.sent(upload, "model.onnx", MODEL[SECOND_HALF:], SECOND_HALF)
        version = (await after.committed(upload)).model_version
        assert await after.read(version, "model.onnx") == MODEL


async def test_what_arrived_before_a_broken_stream_is_kept(bench):
    upload = await bench.opened({"model.onnx": MODEL})

    async def stalled():
        for message in pieces(upload.name, "model.onnx", MODEL[:SECOND_HALF]):
            yield message
        await asyncio.Event().wait()

    call = bench.registry.WriteUploadFile(stalled())

    async def half_has_arrived() -> bool:
        return await received(bench, upload) == [SECOND_HALF]

    await eventually(half_has_arrived)
    code, error = await refusal(bench.sent(upload, "model.onnx", MODEL[SECOND_HALF:], SECOND_HALF))
    assert (code, error.reason) == (grpc.StatusCode.ABORTED, "UPLOAD_BUSY")
    call.cancel()

    async def the_file_is_free() -> bool:
        try:
            return await bench.sent(upload, "model.onnx", b"", SECOND_HALF) == SECOND_HALF
        except grpc.RpcError:
            return False

    await eventually(the_file_is_free)
    assert await bench.sent(upload, "model.onnx", MODEL[SECOND_HALF:], SECOND_HALF) == len(MODEL)
    assert (await bench.committed(upload)).model_version.version_id == 1


async def test_a_wrong_offset_is_told_the_right_one(bench):
    upload = await bench.opened({"model.onnx": MODEL})
    await bench.sent(upload, "model.onnx", MODEL[:100])
    code, error = await refusal(bench.sent(upload, "model.onnx", MODEL[50:], 50))
    assert (code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "OFFSET_MISMATCH")
    assert error.metadata["expected"] == "100"
    assert await received(bench, upload) == [100]


async def test_more_than_declared_is_refused(bench):
    upload = await bench.opened({"model.onnx": MODEL})
    code, error = await refusal(bench.sent(upload, "model.onnx", MODEL + b"\0"))
    assert (code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MORE_THAN_DECLARED")


async def test_a_piece_has_at_most_one_mebibyte(bench):
    upload = await bench.opened({"model.onnx": bytes(2 * 1024**2)})
    piece = pb.WriteUploadFileRequest(name=upload.name, path="model.onnx", data=bytes(1024**2 + 1))
    code, error = await refusal(streamed(bench.address, pb.WriteUploadFileRequest, [piece]))
    assert (code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "PIECE_TOO_LARGE")


async def test_a_file_that_is_not_the_declared_one_is_dropped_and_can_be_sent_again(bench):
    upload = await bench.opened({"model.onnx": MODEL})
    code, error = await refusal(bench.sent(upload, "model.onnx", bytes(len(MODEL))))
    assert (code, error.reason) == (grpc.StatusCode.DATA_LOSS, "DIGEST_MISMATCH")
    assert await received(bench, upload) == [0]
    await bench.sent(upload, "model.onnx", MODEL)
    assert (await bench.committed(upload)).model_version.version_id == 1


async def test_staged_bytes_that_changed_on_disk_are_never_published(bench, tmp_path):
    upload = await bench.opened({"model.onnx": MODEL})
    await bench.sent(upload, "model.onnx", MODEL)
    (staged,) = (tmp_path / "staging").rglob("0")
    staged.write_bytes(bytes(len(MODEL)))
    code, _ = await refusal(bench.committed(upload))
    assert code == grpc.StatusCode.DATA_LOSS


async def test_a_commit_waits_for_every_byte(bench):
    upload = await bench.opened({"model.onnx": MODEL})
    await bench.sent(upload, "model.onnx", MODEL[:100])
    code, error = await refusal(bench.committed(upload))
    assert (code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "UPLOAD_INCOMPLETE")
    assert error.metadata["got"] == "100"


async def test_an_upload_is_kept_while_the_object_store_is_away(bench, blobs):
    upload = await bench.opened({"model.onnx": MODEL})
    await bench.sent(upload, "model.onnx", MODEL)
    blobs.away = True
    code, error = await refusal(bench.committed(upload))
    assert (code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "BLOB_STORE_AWAY")
    assert "committed again" in error.message
    blobs.away = False
    assert (await bench.committed(upload)).model_version.version_id == 1


async def test_a_repeated_commit_gives_the_same_version(tmp_path, blobs):
    async with upload_bench(tmp_path, blobs) as before:
        upload = await before.opened({"model.onnx": MODEL})
        await before.sent(upload, "model.onnx", MODEL)
        first = await before.committed(upload)
        assert await before.committed(upload) == first
    async with upload_bench(tmp_path, blobs) as after:
        assert await after.committed(upload) == first
        assert await received(after, upload) == [len(MODEL)]
        code, error = await refusal(after.sent(upload, "model.onnx", MODEL))
        assert (code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "UPLOAD_COMMITTED")


async def test_a_refused_model_leaves_no_version_and_nothing_in_the_store(bench, blobs):
    upload = await bench.opened({"model.onnx": hostile_files.torch_checkpoint()})
    await bench.sent(upload, "model.onnx", hostile_files.torch_checkpoint())
    code, error = await refusal(bench.committed(upload))
    assert (code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "PICKLE_REFUSED")
    assert "torch.onnx.export" in error.message
    assert [blob async for blob in blobs.list_blobs("")] == []
    assert (await bench.pushed({"model.onnx": MODEL})).version_id == 1


async def test_a_damaged_blob_is_data_loss_and_never_whole(bench, blobs):
    version = await bench.pushed({"model.onnx": MODEL})
    blobs.corrupt(blob_key(version.files[0].sha256), bytes(len(MODEL)))
    code, error = await refusal(bench.read(version, "model.onnx"))
    assert (code, error.reason) == (grpc.StatusCode.DATA_LOSS, "BLOB_DAMAGED")


async def test_a_damaged_blob_is_replaced_by_whoever_pushes_the_right_bytes(tmp_path, blobs):
    blobs.corrupt(blob_key(hashlib.sha256(MODEL).hexdigest()), bytes(len(MODEL)))
    async with upload_bench(tmp_path, blobs) as bench:
        version = await bench.pushed({"model.onnx": MODEL})
        assert await bench.read(version, "model.onnx") == MODEL


async def test_the_same_request_opens_one_upload(bench):
    first = await bench.opened({"model.onnx": MODEL}, request_id="4d8c9d3a-16a5-4a3e-9ff5-3f9b2f4b1d11")
    await bench.sent(first, "model.onnx", MODEL[:100])
    again = await bench.opened({"model.onnx": MODEL}, request_id="4d8c9d3a-16a5-4a3e-9ff5-3f9b2f4b1d11")
    assert (again.name, list(again.received_bytes)) == (first.name, [100])


async def test_an_upload_given_up_is_gone(bench):
    upload = await bench.opened({"model.onnx": MODEL})
    await bench.sent(upload, "model.onnx", MODEL)
    await bench.registry.DeleteUpload(pb.DeleteUploadRequest(name=upload.name))
    code, _ = await refusal(bench.committed(upload))
    assert code == grpc.StatusCode.NOT_FOUND
    assert await bench.staging.list_uploads() == []


async def test_an_idle_upload_is_swept_up_and_a_lively_one_is_not(tmp_path, blobs):
    clock, limits = SetClock(), UploadLimits(idle_max=timedelta(hours=1))
    async with upload_bench(tmp_path, blobs, clock=clock, limits=limits) as bench:
        idle, lively = await bench.opened({"a.onnx": MODEL}), await bench.opened({"b.onnx": MODEL})
        await bench.sent(idle, "a.onnx", MODEL[:100])
        clock.move(timedelta(minutes=59))
        await bench.sent(lively, "b.onnx", MODEL[:100])
        clock.move(timedelta(minutes=2))
        await bench.sweeper.sweep()
        assert len(await bench.staging.list_uploads()) == 1
        assert await received(bench, lively) == [100]
        code, _ = await refusal(received(bench, idle))
        assert code == grpc.StatusCode.NOT_FOUND


async def test_staged_bytes_of_no_upload_are_swept_up(bench, tmp_path):
    (tmp_path / "staging" / "net.u0123").mkdir()
    await bench.sweeper.sweep()
    assert await bench.staging.list_uploads() == []


async def test_a_disk_without_room_refuses_the_upload_at_once(tmp_path, blobs):
    limits = UploadLimits(disk_free_bytes_min=2**60)
    async with upload_bench(tmp_path, blobs, limits=limits) as bench:
        code, error = await refusal(bench.opened({"model.onnx": MODEL}))
        assert (code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "DISK_FULL")


async def test_open_uploads_are_bounded(tmp_path, blobs):
    async with upload_bench(tmp_path, blobs, limits=UploadLimits(open_max=1)) as bench:
        await bench.opened({"model.onnx": MODEL})
        code, _ = await refusal(bench.opened({"model.onnx": MODEL}))
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED

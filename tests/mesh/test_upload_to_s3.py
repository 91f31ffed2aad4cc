"""Uploads with a real S3 store behind them."""

from __future__ import annotations

from uuid import uuid4

import grpc
import pytest

from servemesh.blobs.minio_store import MinioStore, StoreSettings
from tests.harness import zoo
from tests.harness.registry_uploads import upload_bench
from tests.harness.seaweed import S3Access


def settings_of(access: S3Access) -> StoreSettings:
    return StoreSettings(
        endpoint=access.endpoint,
        access_key=access.access_key,
        secret_key=access.secret_key,
        bucket=f"test-{uuid4()}",
        retries_max=1,
    )


async def test_a_real_model_goes_to_s3_and_comes_back_byte_for_byte(tmp_path, seaweed_server):
    model = zoo.minilm().read_bytes()
    async with (
        MinioStore.running(settings_of(seaweed_server.access)) as blobs,
        upload_bench(tmp_path, blobs, piece_bytes=1024**2) as bench,
    ):
        await blobs.ensure_bucket()
        version = await bench.pushed({"model.onnx": model})
        assert [spec.name for spec in version.signature.inputs] == [
            "input_ids",
            "attention_mask",
            "token_type_ids",
        ]
        assert version.signature.batchable
        assert await bench.read(version, "model.onnx") == model


async def test_an_upload_outlives_the_time_in_which_s3_is_down(tmp_path, own_seaweed_server):
    model = zoo.digits().model.read_bytes()
    async with (
        MinioStore.running(settings_of(own_seaweed_server.access)) as blobs,
        upload_bench(tmp_path, blobs) as bench,
    ):
        await blobs.ensure_bucket()
        upload = await bench.opened({"model.onnx": model})
        await bench.sent(upload, "model.onnx", model)
        own_seaweed_server.kill()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await bench.committed(upload)
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        own_seaweed_server.start()
        version = (await bench.committed(upload)).model_version
        assert await bench.read(version, "model.onnx") == model

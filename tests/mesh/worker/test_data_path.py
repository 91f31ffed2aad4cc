"""The worker's data path over real gRPC with real models, on both servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.api.worker.v1 import worker_pb2, worker_pb2_grpc
from servemesh.errors import ExpiredError, InvalidError, MissingError, UnsupportedError
from servemesh.rpc.server import Backend
from servemesh.rpc.statuses import from_rpc_error
from servemesh.tensors.datatypes import DATATYPES
from tests.harness import models
from tests.harness.waiting import eventually
from tests.harness.worker_server import TIMEOUT_S, WorkerServer, a_request, outputs_of, worker_server

ROW = np.ones((1, 64), np.float32)
MODELS = {
    **{f"id-{name.lower()}": models.identity(name, ("rows", 2)) for name in DATATYPES},
    "mlp": models.mlp(),
    "lookup": models.lookup(8),
    "scaled": models.scaled(),
    "fixed": models.identity("FP32", (2, 2)),
    "counter": models.counter(),
    "total": models.total(),
    "half-scalar": models.identity("BF16", ()),
}


@pytest.fixture(params=list(Backend))
async def worker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[WorkerServer]:
    async with worker_server(tmp_path, MODELS, backend=request.param) as server:
        yield server


async def refused(call: Any) -> Exception:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    return from_rpc_error(failure.value)


async def test_every_datatype_comes_back_raw_and_without_rows(worker: WorkerServer) -> None:
    for name in DATATYPES:
        array = models.sample(name, (3, 2))
        for rows in (array, array[:0]):
            outputs = await worker.infer(f"id-{name.lower()}", x=rows)
            assert outputs["y"].dtype == array.dtype
            assert outputs["y"].tolist() == rows.tolist()


async def test_every_typed_datatype_comes_back_raw(worker: WorkerServer) -> None:
    for name, datatype in DATATYPES.items():
        if not datatype.contents:
            continue
        array = models.sample(name, (3, 2))
        request = a_request(f"id-{name.lower()}", x=array)
        del request.raw_input_contents[:]
        getattr(request.inputs[0].contents, datatype.contents).extend(array.ravel().tolist())
        response = await worker.oip.ModelInfer(request, timeout=TIMEOUT_S)
        assert outputs_of(response)["y"].tolist() == array.tolist()
        assert not response.outputs[0].HasField("contents")


async def test_scalars_and_fixed_shapes_are_run_whole(worker: WorkerServer) -> None:
    scaled = await worker.infer("scaled", x=np.ones((2, 4), np.float32), factor=np.array(3, dtype=np.float32))
    assert scaled["y"].tolist() == [[3] * 4] * 2
    assert (await worker.infer("counter", times=np.array(5)))["count"].tolist() == 5
    half = await worker.infer("half-scalar", x=np.array(1.5, DATATYPES["BF16"].dtype))
    assert (half["y"].shape, float(half["y"])) == ((), 1.5)
    assert (await worker.infer("fixed", x=np.ones((2, 2), np.float32)))["y"].shape == (2, 2)
    error = await refused(worker.infer("fixed", x=np.ones((3, 2), np.float32)))
    assert isinstance(error, InvalidError)
    assert "inputs.x.shape is [3, 2], expected [2, 2]" in str(error)


async def test_answers_carry_id_version_and_the_outputs_asked_for(worker: WorkerServer) -> None:
    request = a_request("mlp", x=ROW)
    request.model_version = "prod"
    request.outputs.add(name="y")
    response = await worker.oip.ModelInfer(request, timeout=TIMEOUT_S)
    assert (response.model_name, response.model_version, response.id) == ("mlp", "3", "r1")
    assert [output.name for output in response.outputs] == ["y"]


async def test_much_text_comes_back_whole(worker: WorkerServer) -> None:
    array = models.sample("BYTES", (20_000, 2))
    assert (await worker.infer("id-bytes", x=array))["y"].tolist() == array.tolist()


async def test_many_calls_at_once_are_batched_and_each_gets_its_own_rows(worker: WorkerServer) -> None:
    async def call(n: int) -> None:
        x = np.full((n % 5, 64), n, np.float32)
        alone = await worker.infer("mlp", x=np.full((1, 64), n, np.float32))
        outputs = await worker.infer("mlp", x=x)
        np.testing.assert_allclose(outputs["y"], np.repeat(alone["y"], n % 5, axis=0), rtol=1e-4)

    async with asyncio.TaskGroup() as group:
        for n in range(60):
            group.create_task(call(n))
    statistics = await worker.oip.ModelStatistics(pb.ModelStatisticsRequest(name="mlp", version="3"))
    (stats,) = statistics.model_stats
    assert stats.inference_stats.success.count == stats.inference_stats.queue.count == 120
    assert stats.execution_count < 120
    assert stats.inference_count == 60 + sum(n % 5 for n in range(60))


async def test_more_rows_than_a_batch_holds_come_back_whole(worker: WorkerServer) -> None:
    x = np.arange(200 * 2, dtype=np.float32).reshape(200, 2)
    assert (await worker.infer("id-fp32", x=x))["y"].tolist() == x.tolist()


async def test_a_bad_row_fails_its_own_call_only(worker: WorkerServer) -> None:
    async with asyncio.TaskGroup() as group:
        good = [group.create_task(worker.infer("lookup", index=np.array([n]))) for n in range(8)]
        bad = group.create_task(refused(worker.infer("lookup", index=np.array([99]))))
    assert [task.result()["value"].tolist() for task in good] == [[n] for n in range(8)]
    assert "onnxruntime" not in str(bad.result())


async def test_a_model_that_adds_rows_up_is_never_batched(worker: WorkerServer) -> None:
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(worker.infer("total", x=np.full((2, 4), n, np.float32))) for n in range(6)]
    assert [call.result()["y"].tolist() for call in calls] == [[[2 * n] * 4] for n in range(6)]


async def test_a_deadline_stops_the_computation(worker: WorkerServer) -> None:
    request = a_request("counter", times=np.array(1 << 60))
    error = await refused(worker.oip.ModelInfer(request, timeout=0.2))
    assert isinstance(error, ExpiredError)
    assert (await worker.infer("counter", times=np.array(3)))["count"].tolist() == 3


async def test_a_client_who_cancels_stops_the_computation(worker: WorkerServer) -> None:
    call = worker.oip.ModelInfer(a_request("counter", times=np.array(1 << 60)), timeout=TIMEOUT_S)
    batcher = worker.slots.find("counter", "").batcher
    await eventually(lambda: not batcher.is_idle)
    call.cancel()
    await eventually(lambda: batcher.is_idle, timeout_s=20)


async def test_the_timeout_parameter_bounds_a_call(worker: WorkerServer) -> None:
    request = a_request("counter", times=np.array(1 << 60))
    request.parameters["timeout"].int64_param = 100_000
    error = await refused(worker.oip.ModelInfer(request, timeout=TIMEOUT_S))
    assert isinstance(error, ExpiredError)
    assert str(error) == "Request timeout expired"


async def test_unknown_models_and_versions_are_not_found(worker: WorkerServer) -> None:
    for request in (a_request("nope"), a_request("mlp", x=ROW)):
        request.model_version = "9"
        error = await refused(worker.oip.ModelInfer(request, timeout=TIMEOUT_S))
        assert isinstance(error, MissingError)
        assert str(error).startswith(f"Request for unknown model: '{request.model_name}'")
    assert isinstance(await refused(worker.oip.ModelReady(pb.ModelReadyRequest(name="nope"))), MissingError)


async def test_a_call_that_the_edge_read_otherwise_is_refused(worker: WorkerServer) -> None:
    request = a_request("mlp", x=ROW)
    call = worker.oip.ModelInfer(request, metadata=[("x-servemesh-model", "other")], timeout=TIMEOUT_S)
    error = await refused(call)
    assert isinstance(error, InvalidError)
    assert error.reason == "EDGE_MISMATCH"
    call = worker.oip.ModelInfer(request, metadata=[("x-servemesh-model", "mlp")], timeout=TIMEOUT_S)
    assert (await call).model_name == "mlp"


async def test_the_best_classes_come_as_text(worker: WorkerServer) -> None:
    request = a_request("id-fp32", x=np.array([[1, 3]], np.float32))
    request.outputs.add(name="y").parameters["classification"].int64_param = 2
    response = await worker.oip.ModelInfer(request, timeout=TIMEOUT_S)
    assert outputs_of(response)["y"].tolist() == [[b"3.000000:1", b"1.000000:0"]]


async def test_streams_keep_order_and_survive_a_bad_request(worker: WorkerServer) -> None:
    def requests() -> list[pb.ModelInferRequest]:
        sent = [a_request("mlp", x=ROW) for _ in range(5)]
        sent[2].model_name = "nope"
        for n, request in enumerate(sent):
            request.id = str(n)
            request.parameters["triton_enable_empty_final_response"].bool_param = n == 4
        return sent

    stream = worker.oip.ModelStreamInfer(iter(requests()), timeout=TIMEOUT_S)
    answers = [answer async for answer in stream]
    assert [answer.infer_response.id for answer in answers] == list("01234")
    assert [bool(answer.error_message) for answer in answers] == [False, False, True, False, False]
    assert answers[4].infer_response.parameters["triton_final_response"].bool_param
    ended = worker.oip.ModelStreamInfer(
        iter(requests()[:3]), metadata=[("triton_grpc_error", "true")], timeout=TIMEOUT_S
    )
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        _ = [answer async for answer in ended]
    assert failure.value.code() is grpc.StatusCode.NOT_FOUND


async def test_many_requests_in_one_call_are_answered_in_order_with_errors_in_their_places(
    worker: WorkerServer,
) -> None:
    sent = [a_request("mlp", x=ROW) for _ in range(5)]
    for n, request in enumerate(sent):
        request.id = str(n)
    sent[2].model_name = "nope"
    contents = [request.SerializeToString() for request in sent]
    contents[3] = b"\xff"
    call = worker_pb2_grpc.WorkerServiceStub(worker.channel).InferMany(
        worker_pb2.InferManyRequest(requests=contents), timeout=TIMEOUT_S
    )
    messages = [message async for message in call]
    answers = [
        pb.ModelStreamInferResponse.FromString(answer) for message in messages for answer in message.responses
    ]
    assert [answer.infer_response.id for answer in answers] == ["0", "1", "2", "", "4"]
    assert [bool(answer.error_message) for answer in answers] == [False, False, True, True, False]


async def test_metadata_and_configuration_agree(worker: WorkerServer) -> None:
    for name in MODELS:
        metadata = await worker.oip.ModelMetadata(pb.ModelMetadataRequest(name=name))
        config = (await worker.oip.ModelConfig(pb.ModelConfigRequest(name=name, version="3"))).config
        for tensor, settings in zip(
            (*metadata.inputs, *metadata.outputs), (*config.input, *config.output), strict=True
        ):
            batch = [-1] if config.max_batch_size else []
            assert list(tensor.shape) == batch + list(settings.dims)
        assert config.HasField("dynamic_batching") == (config.max_batch_size > 0)
        assert not config.HasField("sequence_batching")
        assert not config.HasField("ensemble_scheduling")


async def test_models_are_listed_unloaded_and_loaded(worker: WorkerServer) -> None:
    async def states(*, ready: bool) -> dict[str, str]:
        index = await worker.oip.RepositoryIndex(pb.RepositoryIndexRequest(ready=ready))
        return {model.name: model.state for model in index.models}

    assert (await states(ready=True))["mlp"] == "READY"
    await worker.oip.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="mlp"))
    assert (await states(ready=False))["mlp"] == "UNAVAILABLE"
    assert "mlp" not in await states(ready=True)
    assert not (await worker.oip.ModelReady(pb.ModelReadyRequest(name="mlp"))).ready
    await worker.oip.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="mlp"))
    assert (await worker.oip.ModelReady(pb.ModelReadyRequest(name="mlp"))).ready


async def test_what_is_not_offered_says_so(worker: WorkerServer) -> None:
    oip = worker.oip
    for call in (
        oip.SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest()),
        oip.CudaSharedMemoryRegister(pb.CudaSharedMemoryRegisterRequest()),
        oip.TraceSetting(pb.TraceSettingRequest()),
        oip.LogSettings(pb.LogSettingsRequest()),
        oip.RepositoryIndex(pb.RepositoryIndexRequest(repository_name="other")),
    ):
        assert isinstance(await refused(call), UnsupportedError)
    server = await oip.ServerMetadata(pb.ServerMetadataRequest())
    assert "statistics" in server.extensions
    assert not [extension for extension in server.extensions if "shared_memory" in extension]


async def test_a_message_that_is_no_protobuf_is_refused(worker: WorkerServer) -> None:
    call = worker.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    assert isinstance(await refused(call(b"\xff" * 40, timeout=TIMEOUT_S)), InvalidError)

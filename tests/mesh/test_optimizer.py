"""An optimizer beside a registry, on a real NATS, S3 store and SQLite: from files to a measured Version."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

import servemesh.optimizer.main as optimizer_main
import servemesh.registry.main as registry_main
from servemesh.api.events.v1 import events_pb2
from servemesh.api.optimizer.v1 import optimizer_pb2 as pb
from servemesh.api.registry.v1 import registry_pb2, registry_pb2_grpc
from servemesh.blobs.memory import MemoryStore
from servemesh.blobs.minio_store import MinioStore, StoreSettings
from servemesh.blobs.ports import BlobStore
from servemesh.events import subjects
from servemesh.events.memory import MemoryBus
from servemesh.events.nats_bus import NatsBus
from servemesh.events.ports import Bus
from servemesh.events.settings import BusSettings
from servemesh.optimizer.domain.jobs import Kind
from servemesh.optimizer.domain.results import JobResult
from servemesh.optimizer.domain.specs import JobSpec
from servemesh.optimizer.service.ports import JobProgress, RunningJob
from servemesh.optimizer.settings import Settings as OptimizerSettings
from servemesh.registry.settings import Settings as RegistrySettings
from servemesh.rpc import client
from servemesh.rpc.edge import from_rpc_error
from tests.harness.nats_server import NatsServer
from tests.harness.optimizer_calls import OptimizerCalls, a_program, optimizer_at, upload
from tests.harness.seaweed import SeaweedServer
from tests.harness.served import served
from tests.harness.streamed import streamed

State = pb.Job.State
NOBODY = "127.0.0.1:9"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """An optimizer and the registry beside it."""

    calls: OptimizerCalls
    registry: registry_pb2_grpc.RegistryServiceStub
    bus: Bus


@asynccontextmanager
async def bench_on(folder: Path, bus: Bus, blobs: BlobStore) -> AsyncIterator[Bench]:
    """Serve both for the length of the block."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        registry = RegistrySettings(data_dir=folder / "registry", relay_interval_s=0.05, grace_s=2)
        registry_address = await enter(served(registry_main.serve, registry, bus, blobs, ""))
        settings = OptimizerSettings(
            data_dir=folder / "optimizer",
            registry_address=registry_address,
            beat_s=0.2,
            poll_s=0.5,
            grace_s=2,
        )
        address = await enter(served(optimizer_main.serve, settings, bus, blobs, ""))
        registry_channel = await enter(client.channel(registry_address))
        yield Bench(
            calls=await enter(optimizer_at(address)),
            registry=registry_pb2_grpc.RegistryServiceStub(registry_channel),
            bus=bus,
        )


@pytest.fixture
async def bench(
    tmp_path: Path, nats_server: NatsServer, seaweed_server: SeaweedServer
) -> AsyncIterator[Bench]:
    """On real servers."""
    access = seaweed_server.access
    store = StoreSettings(
        endpoint=access.endpoint,
        access_key=access.access_key,
        secret_key=access.secret_key,
        bucket=f"test-{uuid.uuid4()}",
    )
    async with (
        NatsBus.running(BusSettings(url=nats_server.url)) as bus,
        MinioStore.running(store) as blobs,
        bench_on(tmp_path, bus, blobs) as made,
    ):
        await blobs.ensure_bucket()
        yield made


class Stuck:
    """Satisfies ports.JobRunner: tells that it has begun and goes on for ever."""

    async def run(self, job: RunningJob, spec: JobSpec, progress: JobProgress) -> JobResult:
        """Never return."""
        progress.progress(0.5, "going on for ever")
        progress.log("begun")
        await asyncio.Event().wait()
        raise AssertionError


@asynccontextmanager
async def stuck_bench(folder: Path, **changes: Any) -> AsyncIterator[OptimizerCalls]:
    """An optimizer in memory whose jobs never end by themselves."""
    settings = OptimizerSettings(data_dir=folder, registry_address=NOBODY, beat_s=0.1, grace_s=2, **changes)

    async def serve(*parts: Any, **options: Any) -> None:
        await optimizer_main.serve(*parts, runners={kind: Stuck() for kind in Kind}, **options)

    async with (
        served(serve, settings, MemoryBus(), MemoryStore(), "") as address,
        optimizer_at(address) as calls,
    ):
        yield calls


@pytest.mark.timeout(240)
async def test_a_program_becomes_a_version_with_its_proof_and_is_measured(bench: Bench) -> None:
    dataset = await bench.calls.with_dataset("points")
    assert (dataset.format, dataset.row_count) == (pb.DATASET_FORMAT_NPZ, 200)
    assert [(column.name, column.label) for column in dataset.columns] == [("input", False), ("label", True)]

    name = await bench.calls.converting("points", a_program())
    states = await bench.calls.states(name)
    assert states[-1].state == State.STATE_SUCCEEDED, (states[-1].error, await bench.calls.log(name))
    found = await bench.calls.stub.GetConversion(pb.GetConversionRequest(name=name))
    result = found.conversion.result
    assert result.format == pb.SOURCE_FORMAT_SKLEARN
    assert result.parity.max_rel < 1e-4
    version = (
        await bench.registry.GetModelVersion(registry_pb2.GetModelVersionRequest(name=result.version))
    ).model_version
    assert version.labels["servemesh.conversion"] == name

    wish = pb.Evaluation(
        version=result.version,
        dataset=dataset.name,
        measurement=pb.MeasurementPlan(batch_sizes=[1], rounds=5),
    )
    made = await bench.calls.stub.CreateEvaluation(pb.CreateEvaluationRequest(evaluation=wish))
    states = await bench.calls.states(made.evaluation.name)
    assert states[-1].state == State.STATE_SUCCEEDED, states[-1].error
    evaluation = (
        await bench.calls.stub.GetEvaluation(pb.GetEvaluationRequest(name=made.evaluation.name))
    ).evaluation
    assert len(evaluation.result.variants) == 1
    assert evaluation.result.variants[0].metric.value > 0.9
    assert evaluation.result.hardware.processor_count > 0
    await _facts_were_told(bench.bus, name)
    await _is_cancelled_at_once(bench)


async def _is_cancelled_at_once(bench: Bench) -> None:
    """A conversion whose child is at work ends within two seconds, and no Version comes of it."""
    name = await bench.calls.converting("cancelled", a_program(seed=1))  # never converted before
    watching = bench.calls.stub.WatchJob(pb.WatchJobRequest(name=name), timeout=30)
    async for response in watching:
        if response.job.step:  # from here on it takes seconds until the child has imported what converts
            break
    async with asyncio.timeout(2.0):
        await bench.calls.stub.CancelJob(pb.CancelJobRequest(name=name))
        states = await bench.calls.states(name)
    assert states[-1].state == State.STATE_CANCELLED
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await bench.registry.GetModel(registry_pb2.GetModelRequest(name="models/cancelled"))
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND


async def _facts_were_told(bus: Bus, name: str) -> None:
    """Every fact of that job comes over JetStream, in order."""
    told = []
    async with bus.consume(f"test-{uuid.uuid4()}", subjects=[subjects.JOB_FACTS]) as deliveries:
        async for delivery in deliveries:
            event = events_pb2.Event.FromString(delivery.data)
            await delivery.ack()
            if event.resource == name:
                told.append(event.WhichOneof("fact"))
                if told[-1] == "job_succeeded":
                    break
    assert told == ["job_queued", "job_started", "job_succeeded"]


async def test_a_cancelled_job_stops_at_once(tmp_path: Path) -> None:
    async with stuck_bench(tmp_path) as calls:
        name = await calls.converting("m", a_program())
        watching = calls.stub.WatchJob(pb.WatchJobRequest(name=name), timeout=20)
        async for response in watching:
            if response.job.step:
                await calls.stub.CancelJob(pb.CancelJobRequest(name=name))
                break
        states = await calls.states(name, timeout_s=5)
        assert states[-1].state == State.STATE_CANCELLED
        assert await calls.log(name) == ["begun"]
        await calls.stub.DeleteJob(pb.DeleteJobRequest(name=name))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await calls.stub.GetConversion(pb.GetConversionRequest(name=name))
        assert refused.value.code() == grpc.StatusCode.NOT_FOUND


async def test_a_job_is_out_of_time_after_its_limit(tmp_path: Path) -> None:
    async with stuck_bench(tmp_path, job_time_s_max=0.5) as calls:
        states = await calls.states(await calls.converting("m", a_program()), timeout_s=10)
        assert states[-1].state == State.STATE_FAILED
        assert states[-1].error.reason == "TIME_EXCEEDED"


async def test_a_repeated_request_makes_no_second_job(tmp_path: Path) -> None:
    async with stuck_bench(tmp_path) as calls:
        request_id = str(uuid.uuid4())
        first = await calls.converting("m", a_program(), request_id=request_id)
        assert await calls.converting("m", a_program(), request_id=request_id) == first
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await calls.converting("other", a_program(), request_id=request_id)
        assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        listed = await calls.stub.ListConversions(pb.ListConversionsRequest())
        assert [conversion.name for conversion in listed.conversions] == [first]


async def test_a_recipe_that_looks_at_rows_is_refused_at_once_where_no_dataset_is_named(
    tmp_path: Path,
) -> None:
    async with stuck_bench(tmp_path) as calls:
        wish = pb.Optimization(source_version="models/m/versions/1", recipe="int8")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await calls.stub.CreateOptimization(pb.CreateOptimizationRequest(optimization=wish))
        error = from_rpc_error(refused.value)
        assert (error.reason, error.metadata["field"]) == ("PASS_NEEDS_ROWS", "optimization.dataset")


async def test_the_same_files_are_the_same_source_and_others_are_refused(tmp_path: Path) -> None:
    async with stuck_bench(tmp_path) as calls:
        files = {"a/model.json": b"{}" * 100_000, "empty": b""}
        assert await calls.uploaded(files) == await calls.uploaded(dict(reversed(files.items())))

        cut_off = [
            pb.UploadSourceRequest(source=pb.Source(files=[pb.SourceFile(path="a", size_bytes=3)])),
            pb.UploadSourceRequest(path="a", data=b"ab"),
        ]
        for messages, code in (
            (cut_off, grpc.StatusCode.DATA_LOSS),
            (upload({"../a": b"x"}), grpc.StatusCode.INVALID_ARGUMENT),
            (upload({}), grpc.StatusCode.INVALID_ARGUMENT),
        ):
            with pytest.raises(grpc.RpcError) as refused:
                await streamed(calls.address, pb.UploadSourceRequest, messages)
            assert refused.value.code() == code


async def test_passes_and_recipes_are_listed(tmp_path: Path) -> None:
    async with stuck_bench(tmp_path) as calls:
        passes = (await calls.stub.ListPasses(pb.ListPassesRequest())).passes
        assert {"int8_static", "simplify"} <= {info.pass_id for info in passes}
        recipes = (await calls.stub.ListRecipes(pb.ListRecipesRequest())).recipes
        assert {"safe", "int8"} <= {recipe.recipe_id for recipe in recipes}

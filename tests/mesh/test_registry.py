"""The registry over real gRPC: what callers see of it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from servemesh.api.fleet.v1 import fleet_pb2 as fleet
from servemesh.api.fleet.v1 import fleet_pb2_grpc as fleet_grpc
from servemesh.api.registry.v1 import registry_pb2 as pb
from servemesh.api.registry.v1 import registry_pb2_grpc as pb_grpc
from servemesh.blobs.memory import MemoryStore
from servemesh.errors import ServemeshError
from servemesh.events.memory import MemoryBus
from servemesh.registry.main import serve
from servemesh.registry.settings import Settings
from servemesh.rpc import client, edge
from tests.harness import models
from tests.harness.served import served

MODEL = models.mlp().SerializeToString()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stubs:
    """Both services of a running registry."""

    registry: Any
    fleet: Any

    async def push(self, model_id: str) -> pb.ModelVersion:
        """Publish a small model as the next Version."""
        upload = pb.Upload(files=[pb.ArtifactFile(path="model.onnx", size_bytes=len(MODEL))])
        request = pb.CreateUploadRequest(parent=f"models/{model_id}", upload=upload)
        name = (await self.registry.CreateUpload(request)).upload.name

        async def stream() -> AsyncIterator[pb.WriteUploadFileRequest]:
            yield pb.WriteUploadFileRequest(name=name, path="model.onnx", data=MODEL)

        await self.registry.WriteUploadFile(stream())
        return (await self.registry.CommitUpload(pb.CommitUploadRequest(name=name))).model_version

    async def renew(self, worker: fleet.Worker) -> fleet.RenewLeaseResponse:
        """Renew a lease."""
        return await self.fleet.RenewLease(fleet.RenewLeaseRequest(worker=worker))


@pytest.fixture
async def stubs(tmp_path: Path) -> AsyncIterator[Stubs]:
    settings = Settings(data_dir=tmp_path, placement_interval_s=0.05)
    async with (
        served(serve, settings, MemoryBus(), MemoryStore(), "") as address,
        client.channel(address) as channel,
    ):
        yield Stubs(registry=pb_grpc.RegistryServiceStub(channel), fleet=fleet_grpc.FleetServiceStub(channel))


def a_worker(worker_id: str = "w1", *slots: fleet.Slot) -> fleet.Worker:
    return fleet.Worker(
        name=f"workers/{worker_id}",
        incarnation=str(uuid.uuid5(uuid.NAMESPACE_OID, worker_id)),
        address="127.0.0.1:1",
        state=fleet.Worker.STATE_ACTIVE,
        memory_bytes_max=1 << 30,
        slots=slots,
    )


async def refusal(call: Any) -> tuple[grpc.StatusCode, ServemeshError]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code(), edge.from_rpc_error(refused.value)


async def test_a_pushed_model_is_deployed_assigned_and_watched_until_ready(stubs: Stubs) -> None:
    version = await stubs.push("net")
    await stubs.registry.SetAlias(
        pb.SetAliasRequest(alias=pb.Alias(name="models/net/aliases/prod", version=version.name))
    )
    await stubs.renew(a_worker())
    request = pb.CreateDeploymentRequest(deployment=pb.Deployment(model="models/net"))
    created = (await stubs.registry.CreateDeployment(request)).deployment
    assert created.state == pb.Deployment.STATE_PENDING
    assert [target.target for target in created.serving] == [version.name]
    watch = stubs.registry.WatchDeployment(pb.WatchDeploymentRequest(name="deployments/net"))
    async with asyncio.timeout(20):
        async for answer in watch:
            if answer.deployment.state == pb.Deployment.STATE_READY:
                break
            assignment = (await stubs.renew(a_worker())).assignment
            await stubs.renew(a_worker("w1", *(a_ready(slot) for slot in assignment.slots)))
    watch.cancel()
    (slot,) = (await stubs.renew(a_worker())).assignment.slots
    assert slot.model_version == version
    assert (slot.is_default, list(slot.aliases)) == (True, ["prod"])


def a_ready(slot: fleet.AssignedSlot) -> fleet.Slot:
    return fleet.Slot(version=slot.model_version.name, state=fleet.Slot.STATE_READY, memory_bytes=1)


async def test_a_watch_ends_when_the_deployment_is_deleted(stubs: Stubs) -> None:
    await stubs.push("net")
    request = pb.CreateDeploymentRequest(deployment=pb.Deployment(model="models/net"))
    await stubs.registry.CreateDeployment(request)
    watch = stubs.registry.WatchDeployment(pb.WatchDeploymentRequest(name="deployments/net"))
    await watch.read()
    await stubs.registry.DeleteDeployment(pb.DeleteDeploymentRequest(name="deployments/net"))
    code, error = await refusal(_drained(watch))
    assert (code, error.reason) == (grpc.StatusCode.NOT_FOUND, "DEPLOYMENT_MISSING")


async def _drained(watch: Any) -> None:
    while await watch.read() is not grpc.aio.EOF:
        pass


async def test_only_what_the_mask_names_changes(stubs: Stubs) -> None:
    model = pb.Model(description="flowers", labels={"a": "1"})
    await stubs.registry.CreateModel(pb.CreateModelRequest(model_id="iris", model=model))
    wish = pb.Model(name="models/iris", description="new")
    request = pb.UpdateModelRequest(model=wish, update_mask=FieldMask(paths=["description"]))
    changed = (await stubs.registry.UpdateModel(request)).model
    assert (changed.description, dict(changed.labels)) == ("new", {"a": "1"})
    request = pb.UpdateModelRequest(model=wish, update_mask=FieldMask(paths=["create_time"]))
    code, error = await refusal(stubs.registry.UpdateModel(request))
    assert (code, error.metadata["field"]) == (grpc.StatusCode.INVALID_ARGUMENT, "update_mask")


async def test_statuses_say_what_is_wrong(stubs: Stubs) -> None:
    registry = stubs.registry
    await registry.CreateModel(pb.CreateModelRequest(model_id="iris"))
    alias = pb.Alias(name="models/iris/aliases/prod", version="models/wine/versions/1")
    cases = [
        (registry.CreateModel(pb.CreateModelRequest(model_id="iris")), "ALREADY_EXISTS", "MODEL_EXISTS"),
        (registry.CreateModel(pb.CreateModelRequest(model_id="Iris")), "INVALID_ARGUMENT", "NAME_MALFORMED"),
        (registry.GetModel(pb.GetModelRequest(name="models/wine")), "NOT_FOUND", "MODEL_MISSING"),
        (registry.GetModel(pb.GetModelRequest(name="wine")), "INVALID_ARGUMENT", "NAME_MALFORMED"),
        (
            registry.DeleteModel(pb.DeleteModelRequest(name="models/iris", etag="x")),
            "ABORTED",
            "STALE_ETAG",
        ),
        (
            registry.CreateModel(pb.CreateModelRequest(model_id="wine", request_id="1")),
            "INVALID_ARGUMENT",
            "REQUEST_ID_MALFORMED",
        ),
        (
            registry.SetAlias(pb.SetAliasRequest(alias=alias)),
            "INVALID_ARGUMENT",
            "VERSION_OF_ANOTHER_MODEL",
        ),
        (registry.ListModels(pb.ListModelsRequest(page_size=-1)), "INVALID_ARGUMENT", "OUT_OF_RANGE"),
        (
            registry.ListModels(pb.ListModelsRequest(page_token="bm90IG91cnM")),
            "INVALID_ARGUMENT",
            "PAGE_TOKEN_MALFORMED",
        ),
        (
            stubs.fleet.DemandVersion(fleet.DemandVersionRequest(name="models/iris")),
            "NOT_FOUND",
            "DEPLOYMENT_MISSING",
        ),
        (stubs.renew(fleet.Worker(name="workers/w1")), "INVALID_ARGUMENT", "STATE_UNKNOWN"),
    ]
    for call, code, reason in cases:
        got_code, error = await refusal(call)
        assert (got_code.name, error.reason) == (code, reason)


async def test_a_request_id_answers_again_and_refuses_another_body(stubs: Stubs) -> None:
    request = pb.CreateModelRequest(model_id="iris", request_id=str(uuid.uuid4()))
    first = await stubs.registry.CreateModel(request)
    assert await stubs.registry.CreateModel(request) == first
    request.model_id = "wine"
    code, error = await refusal(stubs.registry.CreateModel(request))
    assert (code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "REQUEST_ID_REUSED")


async def test_a_page_token_fits_only_the_list_it_came_from(stubs: Stubs) -> None:
    for model_id in ("a", "b"):
        await stubs.registry.CreateModel(pb.CreateModelRequest(model_id=model_id))
    token = (await stubs.registry.ListModels(pb.ListModelsRequest(page_size=1))).next_page_token
    page = await stubs.registry.ListModels(pb.ListModelsRequest(page_size=5, page_token=token))
    assert [model.name for model in page.models] == ["models/b"]
    request = pb.ListModelVersionsRequest(parent="models/a", page_token=token)
    code, _ = await refusal(stubs.registry.ListModelVersions(request))
    assert code is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_alias_of_the_past_can_be_asked_for(stubs: Stubs) -> None:
    version = await stubs.push("net")
    alias = pb.Alias(name="models/net/aliases/prod", version=version.name)
    await stubs.registry.SetAlias(pb.SetAliasRequest(alias=alias))
    request = pb.GetAliasRequest(name=alias.name)
    request.as_of_time.FromDatetime(datetime.now(UTC) + timedelta(minutes=1))
    found = (await stubs.registry.GetAlias(request)).alias
    assert (found.version, found.etag) == (version.name, "")
    request.as_of_time.FromDatetime(datetime.now(UTC) - timedelta(days=7))
    code, _ = await refusal(stubs.registry.GetAlias(request))
    assert code is grpc.StatusCode.NOT_FOUND


async def test_a_worker_is_listed_until_it_leaves(stubs: Stubs) -> None:
    worker = a_worker()
    assert (await stubs.renew(worker)).lease.seconds == 10
    listed = (await stubs.fleet.ListWorkers(fleet.ListWorkersRequest())).workers
    assert [each.address for each in listed] == [worker.address]
    await stubs.fleet.EndLease(fleet.EndLeaseRequest(name=worker.name, incarnation=worker.incarnation))
    code, _ = await refusal(stubs.fleet.GetWorker(fleet.GetWorkerRequest(name=worker.name)))
    assert code is grpc.StatusCode.NOT_FOUND
    code, error = await refusal(stubs.renew(worker))
    assert (code, error.reason) == (grpc.StatusCode.ABORTED, "INCARNATION_REPLACED")

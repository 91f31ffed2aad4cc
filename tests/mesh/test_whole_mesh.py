"""A model's way through the whole mesh: pushed, deployed, called at the edge and at a worker."""

from __future__ import annotations

from pathlib import Path

import grpc
import numpy as np
import pytest

from servemesh.api.oip.v2 import inference_pb2 as oip
from servemesh.api.oip.v2 import inference_pb2_grpc as oip_grpc
from servemesh.client import AsyncClient
from servemesh.errors import MissingError
from servemesh.rpc import client
from tests.harness import models
from tests.harness.mesh import mesh
from tests.harness.mesh_load import ROW
from tests.harness.waiting import eventually

UNKNOWN = "Request for unknown model: '{}' is not found"


@pytest.mark.parametrize("server", ["native", "grpcio"])
async def test_a_pushed_model_answers_at_the_edge_and_at_its_workers(tmp_path: Path, server: str) -> None:
    async with mesh(tmp_path, workers=3, has_edge=True, worker={"server": server}) as m:
        path = models.saved(models.identity(), tmp_path / "model")
        assert (await m.client.push("net", path)).version == 1
        await m.client.deploy("net", replicas=3, wait_s=20)
        answer = await m.client.infer("net", {"x": ROW})
        np.testing.assert_array_equal(answer["y"], ROW)
        assert (answer.model, answer.version) == ("net", "1")
        for worker in m.workers.values():
            async with AsyncClient(worker.address) as direct:
                np.testing.assert_array_equal((await direct.infer("net", {"x": ROW}))["y"], ROW)


async def test_a_call_may_name_a_version_an_alias_or_nothing(tmp_path: Path) -> None:
    async with mesh(tmp_path, has_edge=True) as m:
        for _ in range(2):
            await m.push("net")
        await m.control.set_alias("net", "prod", 1)
        await m.deploy("net", 2)
        # Version 1 is deployed for whoever names it, by number or by its alias, as soon as somebody does.
        for version, answered_by in (("", "2"), ("2", "2"), ("1", "1"), ("prod", "1")):
            assert (await m.client.infer("net", {"x": ROW}, version=version)).version == answered_by


@pytest.mark.parametrize("has_edge", [True, False], ids=["edge", "gateway"])
async def test_unknown_names_are_not_found_in_tritons_words(tmp_path: Path, has_edge: bool) -> None:
    async with mesh(tmp_path, workers=1, has_edge=has_edge) as m:
        await m.push("net")
        await m.push("idle")
        await m.deploy("net", replicas=1)
        for model, version, text in (
            ("nobody", "", UNKNOWN.format("nobody")),
            ("Not A Name", "", UNKNOWN.format("Not A Name")),
            ("idle", "", UNKNOWN.format("idle")),
            ("net", "7", "Request for unknown model: 'net' version 7 is not found"),
            ("net", "prod", "Request for unknown model: 'net' version prod is not found"),
        ):
            with pytest.raises(MissingError, match=text):
                await m.client.infer(model, {"x": ROW}, version=version)
            request = oip.ModelReadyRequest(name=model, version=version)
            if model != "idle":
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await m.inference.ModelReady(request)
                assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.NOT_FOUND, text)
        (worker,) = m.workers.values()
        async with AsyncClient(worker.address) as direct:
            with pytest.raises(MissingError, match="'nobody' is not found"):
                await direct.infer("nobody", {"x": ROW})


async def test_an_undeployed_model_is_not_found_and_comes_back(tmp_path: Path) -> None:
    async with mesh(tmp_path, workers=1, has_edge=True) as m:
        await m.push("net")
        await m.deploy("net")
        await m.client.undeploy("net")

        async def gone() -> bool:
            try:
                await m.client.infer("net", {"x": ROW})
            except MissingError as error:
                return error.message == UNKNOWN.format("net")
            return False

        await eventually(gone)
        # That it was unknown a moment ago is remembered, and does not count once it is deployed.
        assert await gone()
        await m.inference.RepositoryModelLoad(oip.RepositoryModelLoadRequest(model_name="net"), timeout=10)
        await m.client.infer("net", {"x": ROW})
        await m.inference.RepositoryModelUnload(
            oip.RepositoryModelUnloadRequest(model_name="net"), timeout=10
        )
        await eventually(gone)


async def test_what_is_not_offered_says_so_alike_at_gateway_and_worker(tmp_path: Path) -> None:
    async with mesh(tmp_path, workers=1) as m:
        (worker,) = m.workers.values()
        async with client.channel(worker.address) as channel:
            stubs = (m.inference, oip_grpc.GRPCInferenceServiceStub(channel))
            for method in (
                "SystemSharedMemoryStatus",
                "SystemSharedMemoryRegister",
                "SystemSharedMemoryUnregister",
                "CudaSharedMemoryStatus",
                "CudaSharedMemoryRegister",
                "CudaSharedMemoryUnregister",
                "TraceSetting",
                "LogSettings",
            ):
                request = getattr(oip, f"{method}Request")()
                told = {await _refusal(getattr(stub, method)(request)) for stub in stubs}
                ((code, text),) = told
                assert code is grpc.StatusCode.UNIMPLEMENTED
                assert method in text


async def test_gateway_and_worker_refuse_in_the_same_words(tmp_path: Path) -> None:
    async with mesh(tmp_path, workers=1) as m:
        (worker,) = m.workers.values()
        async with client.channel(worker.address) as channel:
            stubs = (m.inference, oip_grpc.GRPCInferenceServiceStub(channel))
            load = oip.RepositoryModelLoadRequest(model_name="net")
            load.parameters["config"].string_param = "{}"
            named = oip.RepositoryIndexRequest(repository_name="models")
            missing = oip.ModelMetadataRequest(name="nobody")
            for method, request, code in (
                ("RepositoryModelLoad", load, grpc.StatusCode.INVALID_ARGUMENT),
                ("RepositoryIndex", named, grpc.StatusCode.UNIMPLEMENTED),
                ("ModelMetadata", missing, grpc.StatusCode.NOT_FOUND),
                ("ModelConfig", oip.ModelConfigRequest(name="nobody"), grpc.StatusCode.NOT_FOUND),
                ("ModelStatistics", oip.ModelStatisticsRequest(name="nobody"), grpc.StatusCode.NOT_FOUND),
            ):
                told = {await _refusal(getattr(stub, method)(request)) for stub in stubs}
                assert {refused for refused, _ in told} == {code}
                assert len(told) == 1


async def _refusal(call: object) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call  # type: ignore[misc]
    return refused.value.code(), refused.value.details() or ""

"""Operations, carried out against a registry that the test scripts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from servemesh.api.oip.v2 import inference_pb2 as oip
from servemesh.api.registry.v1 import registry_pb2 as pb
from servemesh.client import deployments, models, transfers
from servemesh.client.attempts import Finished, Outcome, advance
from servemesh.client.steps import Call, Operation, Receive, Send, Work, method_of
from servemesh.errors import (
    ConflictError,
    ExistsError,
    ExpiredError,
    InvalidError,
    MissingError,
    UnavailableError,
)

VERSION = pb.ModelVersion(name="models/m/versions/1", version_id=1)


class ScriptedRegistry:
    """Answers each kind of request with a function of the test; keeps what it was sent."""

    def __init__(self, **answers: Callable[[Any], Any]) -> None:
        self._answers = answers
        self.asked: list[Any] = []
        self.uploaded = bytearray()
        self.breaks = 0

    def answer(self, method: str, answer: Callable[[Any], Any]) -> None:
        self._answers[method] = answer

    def run(self, operation: Operation[Any]) -> Any:
        outcome = Outcome()
        while True:
            step = advance(operation, outcome)
            if isinstance(step, Finished):
                return step.value
            try:
                outcome = Outcome(value=self._carried_out(step))
            except Exception as error:  # noqa: BLE001 - handed to the operation, as the runners do
                outcome = Outcome(error=error)

    def _carried_out(self, step: Any) -> Any:
        if isinstance(step, Call):
            self.asked.append(step.request)
            return self._answers[type(step.request).__name__.removesuffix("Request")](step.request)
        if isinstance(step, Send):
            return self._taken_in(step)
        if isinstance(step, Receive):
            return self._answers["read"](step)
        return step.work() if isinstance(step, Work) else None

    def _taken_in(self, step: Send) -> None:
        for number, request in enumerate(step.requests()):
            if number == 0:
                assert request.offset_bytes == len(self.uploaded)
            self.uploaded += request.data
            if self.breaks and number == 1:
                self.breaks -= 1
                raise UnavailableError("the stream broke")


def an_upload(registry: ScriptedRegistry, path: Path) -> pb.Upload:
    size_bytes = path.stat().st_size
    file = pb.ArtifactFile(path=path.name, size_bytes=size_bytes)
    return pb.Upload(name="models/m/uploads/u", files=[file], received_bytes=[len(registry.uploaded)])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(bytes(range(256)) * 10_000)
    return path


def a_registry_for(path: Path, **answers: Callable[[Any], Any]) -> ScriptedRegistry:
    registry = ScriptedRegistry(
        CreateUpload=lambda request: pb.CreateUploadResponse(upload=an_upload(registry, path)),
        GetUpload=lambda request: pb.GetUploadResponse(upload=an_upload(registry, path)),
        CommitUpload=lambda request: pb.CommitUploadResponse(model_version=VERSION, warnings=["careful"]),
        **answers,
    )
    return registry


def test_every_request_finds_its_method():
    assert method_of(pb.GetModelRequest).path == "/servemesh.api.registry.v1.RegistryService/GetModel"
    assert method_of(oip.ModelInferRequest).path == "/inference.GRPCInferenceService/ModelInfer"
    assert method_of(oip.ModelInferRequest).response_type is oip.ModelInferResponse


def test_push_sends_every_byte_and_reports_progress(file: Path):
    registry, seen = a_registry_for(file), []
    version = registry.run(transfers.push("m", file, {}, lambda moved, total: seen.append((moved, total))))
    assert bytes(registry.uploaded) == file.read_bytes()
    assert version.warnings == ("careful",)
    assert seen == sorted(seen)
    assert seen[-1] == (file.stat().st_size, file.stat().st_size)


def test_push_goes_on_where_the_stream_broke(file: Path):
    registry = a_registry_for(file)
    registry.breaks = 2
    registry.run(transfers.push("m", file, {}, lambda moved, total: None))
    assert bytes(registry.uploaded) == file.read_bytes()


def test_push_sends_all_again_to_a_registry_that_has_taken_over(file: Path):
    registry = a_registry_for(file)

    def commit(request: Any) -> Any:
        registry.answer("CommitUpload", lambda request: pb.CommitUploadResponse(model_version=VERSION))
        registry.uploaded.clear()
        raise ConflictError("0 bytes have arrived", reason="UPLOAD_INCOMPLETE")

    registry.answer("CommitUpload", commit)
    registry.run(transfers.push("m", file, {}, lambda moved, total: None))
    assert bytes(registry.uploaded) == file.read_bytes()


def test_pushing_the_same_files_again_asks_for_the_same_upload(file: Path):
    ids = []
    for _ in range(2):
        registry = a_registry_for(file)
        registry.run(transfers.push("m", file, {"a": "b"}, lambda moved, total: None))
        ids.append(
            next(item.request_id for item in registry.asked if isinstance(item, pb.CreateUploadRequest))
        )
    assert ids[0] == ids[1]


@pytest.mark.parametrize(("newest", "deleted"), [(0, ["upload", "model"]), (3, ["upload"])])
def test_a_push_that_is_refused_leaves_nothing_behind_but_what_was_there(
    file: Path, newest: int, deleted: list[str]
):
    def refused(request: Any) -> Any:
        raise InvalidError("not a model", reason="UNSUPPORTED_FORMAT")

    gone: list[str] = []
    registry = a_registry_for(
        file,
        DeleteUpload=lambda request: gone.append("upload"),
        GetModel=lambda request: pb.GetModelResponse(
            model=pb.Model(name="models/m", latest_version_id=newest)
        ),
        DeleteModel=lambda request: gone.append("model"),
    )
    registry.answer("CommitUpload", refused)
    with pytest.raises(InvalidError, match="not a model"):
        registry.run(transfers.push("m", file, {}, lambda moved, total: None))
    assert gone == deleted


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path):
    with pytest.raises(Exception, match="neither a file nor a folder"):
        ScriptedRegistry().run(transfers.push("m", tmp_path / "none", {}, lambda moved, total: None))


def test_pull_refuses_a_path_outside_the_folder(tmp_path: Path):
    evil = pb.ModelVersion(
        name="models/m/versions/1", files=[pb.ArtifactFile(path="../evil", size_bytes=1, sha256="0")]
    )
    registry = ScriptedRegistry(
        GetModelVersion=lambda request: pb.GetModelVersionResponse(model_version=evil)
    )
    with pytest.raises(Exception, match="outside the folder"):
        registry.run(transfers.pull("m", 1, tmp_path / "to", lambda moved, total: None))


def test_deploying_what_is_deployed_changes_it():
    def create(request: pb.CreateDeploymentRequest) -> None:
        raise ExistsError("there is one")

    registry = ScriptedRegistry(
        CreateDeployment=create,
        GetModel=lambda request: pb.GetModelResponse(model=pb.Model(name="models/m", latest_version_id=7)),
        UpdateDeployment=lambda request: pb.UpdateDeploymentResponse(deployment=request.deployment),
    )
    found = registry.run(deployments.deploy("m", "", None, 0.0, lambda: 0.0))
    assert [(share.target, share.weight_percent) for share in found.traffic] == [("7", 100)]


def a_deployment(state: int) -> pb.Deployment:
    return pb.Deployment(
        name="deployments/m", model="models/m", state=state, reason="OUT_OF_MEMORY", message="it does not fit"
    )


def deploying(state: int, *, routed: Callable[[Any], Any]) -> ScriptedRegistry:
    return ScriptedRegistry(
        CreateDeployment=lambda request: pb.CreateDeploymentResponse(deployment=request.deployment),
        GetDeployment=lambda request: pb.GetDeploymentResponse(deployment=a_deployment(state)),
        ModelReady=routed,
    )


def test_waiting_ends_when_the_gateway_routes():
    answers = iter([MissingError("not yet"), True])

    def routed(request: oip.ModelReadyRequest) -> oip.ModelReadyResponse:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return oip.ModelReadyResponse(ready=answer)

    registry = deploying(pb.Deployment.STATE_READY, routed=routed)
    assert registry.run(deployments.deploy("m", 1, 2, 5.0, lambda: 0.0)).state == "READY"


def test_waiting_for_what_cannot_be_served_raises_its_reason():
    registry = deploying(pb.Deployment.STATE_FAILED, routed=lambda request: None)
    with pytest.raises(ConflictError, match="it does not fit") as raised:
        registry.run(deployments.deploy("m", 1, 2, 5.0, lambda: 0.0))
    assert raised.value.reason == "OUT_OF_MEMORY"


def test_waiting_is_bounded():
    times = iter([0.0, 1.0, 6.0])
    registry = deploying(pb.Deployment.STATE_PENDING, routed=lambda request: None)
    with pytest.raises(ExpiredError, match="PENDING"):
        registry.run(deployments.deploy("m", 1, 2, 5.0, lambda: next(times)))


def test_status_names_the_parts_that_are_away():
    def away(request: Any) -> None:
        raise UnavailableError("away")

    registry = ScriptedRegistry(
        ServerReady=lambda request: oip.ServerReadyResponse(ready=True),
        ServerMetadata=lambda request: oip.ServerMetadataResponse(name="servemesh", version="1"),
        ListWorkers=away,
    )
    status = registry.run(deployments.status())
    assert (status.ready, status.server, status.away) == (True, "servemesh", ("registry",))


def test_lists_are_read_to_their_last_page():
    pages = {"": ("models/a", "next"), "next": ("models/b", "")}

    def answer(request: pb.ListModelsRequest) -> pb.ListModelsResponse:
        name, token = pages[request.page_token]
        return pb.ListModelsResponse(models=[pb.Model(name=name)], next_page_token=token)

    found = ScriptedRegistry(ListModels=answer).run(models.models())
    assert [model.model for model in found] == ["a", "b"]

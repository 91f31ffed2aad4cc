"""Changes to the registry, each sent until it is acknowledged, and what must be there for it afterwards."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from servemesh.api.registry.v1 import registry_pb2 as pb
from servemesh.api.registry.v1 import registry_pb2_grpc as pb_grpc
from tests.harness.steady_caller import CHANNEL_OPTIONS

CALL_S = 5.0
PAUSE_S = 0.02
AWAY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


class RegistryWriter:
    """Moves one alias, creates Models, and creates, changes and deletes one Deployment, from a thread.

    `model` has the Versions 1 and 2 and no Deployment; nobody else changes it.
    """

    def __init__(self, address: str, model: str, seed: int) -> None:
        self.moves: list[str] = []
        self.created: list[str] = []
        self.queue_rows_max: int | None = None
        self.deployment_changes = 0
        self.sent_again = 0
        self._address = address
        self._model = f"models/{model}"
        self._random = random.Random(seed)
        self._seed = seed
        self._stub: Any = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="registry-writer")
        self._failure: Exception | None = None

    @property
    def acknowledged(self) -> int:
        """How many changes were acknowledged."""
        return len(self.moves) + len(self.created) + self.deployment_changes

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure is not None and error is None:
            raise self._failure

    def _run(self) -> None:
        with _stub(self._address) as self._stub:
            try:
                while not self._stop.wait(PAUSE_S):
                    self._random.choice((self._move_alias, self._create_model, self._change_deployment))()
            except grpc.RpcError as error:
                self._failure = error

    def _move_alias(self) -> None:
        version = f"{self._model}/versions/{1 + len(self.moves) % 2}"
        alias = pb.Alias(name=f"{self._model}/aliases/prod", version=version)
        request = pb.SetAliasRequest(alias=alias, request_id=self._new_id())
        self._acknowledged(self._stub.SetAlias, request)
        self.moves.append(version)

    def _create_model(self) -> None:
        model_id = f"written-{self._seed}-{len(self.created)}"
        request = pb.CreateModelRequest(model_id=model_id, request_id=self._new_id())
        self._acknowledged(self._stub.CreateModel, request)
        self.created.append(f"models/{model_id}")

    def _change_deployment(self) -> None:
        rows: int | None = 64 + self.deployment_changes
        deployment = pb.Deployment(
            name=self._model.replace("models", "deployments"),
            model=self._model,
            replicas=0,
            batching=pb.BatchingPolicy(queue_rows_max=rows),
        )
        if self.queue_rows_max is None:
            request = pb.CreateDeploymentRequest(deployment=deployment, request_id=self._new_id())
            self._acknowledged(self._stub.CreateDeployment, request)
        elif self._random.random() < 0.3:
            self._acknowledged(
                self._stub.DeleteDeployment, pb.DeleteDeploymentRequest(name=deployment.name), gone=True
            )
            rows = None
        else:
            mask = FieldMask(paths=["batching"])
            update = pb.UpdateDeploymentRequest(deployment=deployment, update_mask=mask)
            self._acknowledged(self._stub.UpdateDeployment, update)
        self.queue_rows_max = rows
        self.deployment_changes += 1

    def _new_id(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def _acknowledged(self, method: Any, request: Any, *, gone: bool = False) -> None:
        """Send until there is an answer. With `gone`, NOT_FOUND is one, if an earlier attempt was unclear."""
        was_unclear = False
        while True:
            try:
                method(request, timeout=CALL_S)
            except grpc.RpcError as error:
                if gone and was_unclear and error.code() is grpc.StatusCode.NOT_FOUND:
                    return
                if error.code() not in AWAY:
                    raise
                was_unclear = True
                self.sent_again += 1
                threading.Event().wait(PAUSE_S)
            else:
                return

    def check(self) -> None:
        """AssertionError if the registry has lost, doubled or reordered what it acknowledged."""
        with _stub(self._address) as stub:
            request = pb.ListAliasMovesRequest(parent=f"{self._model}/aliases/prod", page_size=1000)
            found = stub.ListAliasMoves(request, timeout=CALL_S).alias_moves
            assert [move.version for move in reversed(found)] == self.moves
            assert set(self.created) <= set(_model_names(stub))
            listed = stub.ListDeployments(
                pb.ListDeploymentsRequest(page_size=1000), timeout=CALL_S
            ).deployments
            rows = [item.batching.queue_rows_max for item in listed if item.model == self._model]
            assert rows == ([] if self.queue_rows_max is None else [self.queue_rows_max])


@contextmanager
def _stub(address: str) -> Iterator[Any]:
    with grpc.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        yield pb_grpc.RegistryServiceStub(channel)


def _model_names(stub: Any) -> Iterator[str]:
    request = pb.ListModelsRequest(page_size=1000)
    while True:
        page = stub.ListModels(request, timeout=CALL_S)
        yield from (model.name for model in page.models)
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token

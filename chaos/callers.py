"""Callers who do what nobody should: leave, send nonsense, ask for what is not there, deploy and undeploy."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.api.oip.v2 import inference_pb2_grpc as pb_grpc
from servemesh.client import Client
from servemesh.errors import ServemeshError
from tests.harness import models

OTHER = "other"
CALLS = 20
CALL_S = 10.0
DEPLOY_S = 60.0
REFUSALS = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}
# What the mesh may say while one of its processes is away; everything else is a fault.
AWAY = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
}


class Strangers:
    """Each of `all` does one thing wrong, and says what it was. `faults` are answers that nobody should get."""

    def __init__(self, address: str, model: str, features: int, folder: Path, chance: random.Random) -> None:
        self._address = address
        self._model = model
        self._chance = chance
        self._paths = [models.saved(models.mlp(width=8, seed=seed), folder / f"{seed}") for seed in range(2)]
        array = np.ones((4, features), np.float32)
        tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=array.shape)
        self._good = pb.ModelInferRequest(
            model_name=model, inputs=[tensor], raw_input_contents=[array.tobytes()]
        )
        self.faults: list[str] = []
        self.all: list[Callable[[], str]] = [
            self.leave,
            self.leave_streams,
            self.send_nonsense,
            self.deploy_and_undeploy,
        ]

    def leave(self) -> str:
        """Call, and cancel at once or a little later."""
        with self._channel() as channel:
            infer = pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer
            calls = [infer.future(self._good, timeout=CALL_S) for _ in range(CALLS)]
            for call in calls:
                if self._chance.random() < 0.5:
                    threading.Event().wait(self._chance.random() * 0.005)
                call.cancel()
        return f"{CALLS} callers left"

    def leave_streams(self) -> str:
        """Open streams, read some answers or none, and go."""
        with self._channel() as channel:
            stream = pb_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer
            for _ in range(CALLS // 4):
                answers = stream(self._endless(), timeout=CALL_S)
                try:
                    for _ in range(self._chance.randrange(4)):
                        next(answers)
                except grpc.RpcError as error:
                    self._judge("a stream", error.code(), AWAY)
                answers.cancel()
        return f"{CALLS // 4} streams were left"

    def send_nonsense(self) -> str:
        """Send what cannot be answered; each is refused in the words of docs/errors.md."""
        unknown, short, bare = (pb.ModelInferRequest() for _ in range(3))
        for request in (unknown, short, bare):
            request.CopyFrom(self._good)
        unknown.model_name = "nobody"
        short.raw_input_contents[0] = b"\0\1\2"
        bare.ClearField("inputs")
        with self._channel() as channel:
            infer = pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer
            for request in (unknown, short, bare):
                call = infer.future(request, timeout=CALL_S)
                self._judge("nonsense", call.code(), REFUSALS | AWAY)
        return "3 calls of nonsense"

    def deploy_and_undeploy(self) -> str:
        """Push a version of another model, deploy it, call it, and take it away."""
        try:
            with Client(self._address) as client:
                client.push(OTHER, self._chance.choice(self._paths), timeout_s=DEPLOY_S)
                client.deploy(OTHER, replicas=self._chance.randint(1, 3), wait_s=DEPLOY_S)
                client.undeploy(OTHER)
        except ServemeshError as error:
            return f"deploying failed: {error.reason}"
        return "deployed and undeployed"

    def _endless(self) -> Iterator[pb.ModelInferRequest]:
        for _ in range(CALLS):
            yield self._good

    def _channel(self) -> Any:
        return grpc.insecure_channel(self._address, [("grpc.enable_retries", 0)])

    def _judge(self, what: str, code: grpc.StatusCode, allowed: set[grpc.StatusCode]) -> None:
        if code not in allowed:
            self.faults.append(f"{what} was answered {code.name}")

"""A worker's data path on a real server: models from files, real gRPC on a port of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.api.oip.v2 import inference_pb2_grpc as pb_grpc
from servemesh.rpc.client import channel
from servemesh.rpc.health import Health
from servemesh.rpc.server import Backend, serving
from servemesh.tensors import datatypes, raw
from servemesh.worker.api.oip import OipApi
from servemesh.worker.api.worker import WorkerApi
from servemesh.worker.domain.batching import BatchPolicy
from servemesh.worker.service.catalog import Catalog
from servemesh.worker.service.inference import Inference
from tests.harness.worker_slots import DirectSlots, direct_slots

Array = np.ndarray[Any, Any]
TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerServer:
    """The server with a channel to it, a stub of the protocol, and its slots."""

    address: str
    channel: grpc.aio.Channel
    oip: Any
    slots: DirectSlots

    async def infer(self, model: str, **inputs: Array) -> dict[str, Array]:
        """Run a model on arrays, sent raw, and return its outputs by name."""
        response = await self.oip.ModelInfer(a_request(model, **inputs), timeout=TIMEOUT_S)
        return outputs_of(response)


def a_request(model: str, **inputs: Array) -> pb.ModelInferRequest:
    """Return a request with these inputs, sent raw."""
    return pb.ModelInferRequest(
        model_name=model,
        id="r1",
        inputs=[
            pb.ModelInferRequest.InferInputTensor(
                name=name, datatype=datatypes.of_array(array).name, shape=array.shape
            )
            for name, array in inputs.items()
        ],
        raw_input_contents=[raw.encode(array) for array in inputs.values()],
    )


def outputs_of(response: pb.ModelInferResponse) -> dict[str, Array]:
    """Return the outputs of a response by name."""
    return {
        output.name: raw.decode(data, datatypes.named(output.datatype), output.shape, output.name)
        for output, data in zip(response.outputs, response.raw_output_contents, strict=True)
    }


@asynccontextmanager
async def worker_server(
    folder: Path,
    built: Mapping[str, onnx.ModelProto],
    *,
    policy: BatchPolicy | None = None,
    backend: Backend = Backend.NATIVE,
) -> AsyncIterator[WorkerServer]:
    """Serve `built` models by name, each as version 3."""
    health = Health()
    async with direct_slots(folder, built, policy) as slots:
        catalog = Catalog(slots)
        inference = Inference(slots)
        registrars = [OipApi(inference, catalog, health).register, WorkerApi(inference, catalog).register]
        async with serving("127.0.0.1:0", registrars, health=health, backend=backend, grace_s=2) as address:
            health.set("", True)
            async with channel(address) as to_worker:
                stub = pb_grpc.GRPCInferenceServiceStub(to_worker)
                yield WorkerServer(address=address, channel=to_worker, oip=stub, slots=slots)

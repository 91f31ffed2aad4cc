"""The calls that describe server and models."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version as installed_version
from typing import Any

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.api.oip.v2 import model_config_pb2 as config_pb
from servemesh.rpc.health import Health
from servemesh.tensors.datatypes import DATATYPES
from servemesh.worker.domain.signature import TensorSpec
from servemesh.worker.service.catalog import Catalog
from servemesh.worker.service.slots import SlotView

# Only what works: tools switch features on by this list.
EXTENSIONS = (
    "classification",
    "model_repository",
    "model_repository(unload_dependents)",
    "schedule_policy",
    "model_configuration",
    "binary_tensor_data",
    "parameters",
    "statistics",
)
BACKEND = "onnxruntime"


class MetadataCalls:
    """Describes server and models."""

    _catalog: Catalog
    _health: Health

    async def ServerLive(self, request: pb.ServerLiveRequest, context: Any) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: Any) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._health.is_serving())

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Any) -> pb.ModelReadyResponse:
        return pb.ModelReadyResponse(ready=self._catalog.is_ready(request.name, request.version))

    async def ServerMetadata(
        self, request: pb.ServerMetadataRequest, context: Any
    ) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(
            name="servemesh", version=installed_version("servemesh"), extensions=EXTENSIONS
        )

    async def ModelMetadata(self, request: pb.ModelMetadataRequest, context: Any) -> pb.ModelMetadataResponse:
        slot = self._catalog.slot(request.name, request.version)
        versions = sorted(other.version_id for other in self._catalog.slots(slot.model))
        return pb.ModelMetadataResponse(
            name=slot.model,
            versions=map(str, versions),
            platform=_platform(slot),
            inputs=map(_tensor, slot.signature.inputs),
            outputs=map(_tensor, slot.signature.outputs),
        )

    async def ModelConfig(self, request: pb.ModelConfigRequest, context: Any) -> pb.ModelConfigResponse:
        slot = self._catalog.slot(request.name, request.version)
        versions = [other.version_id for other in self._catalog.slots(slot.model)]
        return pb.ModelConfigResponse(config=_config(slot, versions))


def _config(slot: SlotView, versions: Iterable[int]) -> config_pb.ModelConfig:
    signature, policy = slot.signature, slot.policy
    batches = signature.batchable and policy.rows_max > 1
    config = config_pb.ModelConfig(
        name=slot.model,
        platform=_platform(slot),
        backend=BACKEND,
        max_batch_size=policy.rows_max if batches else 0,
        input=[
            config_pb.ModelInput(
                name=spec.name,
                data_type=_data_type(spec),
                dims=spec.shape[batches:],
                optional=spec.optional,
            )
            for spec in signature.inputs
        ],
        output=[
            config_pb.ModelOutput(name=spec.name, data_type=_data_type(spec), dims=spec.shape[batches:])
            for spec in signature.outputs
        ],
        instance_group=[
            config_pb.ModelInstanceGroup(
                name=slot.model, count=policy.executions, kind=config_pb.ModelInstanceGroup.KIND_AUTO
            )
        ],
    )
    config.version_policy.specific.versions.extend(sorted(versions))
    if batches:
        config.dynamic_batching.max_queue_delay_microseconds = round(policy.linger_s * 1e6)
        config.dynamic_batching.SetInParent()
    return config


def _tensor(spec: TensorSpec) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(name=spec.name, datatype=spec.datatype, shape=spec.shape)


def _data_type(spec: TensorSpec) -> str:
    return DATATYPES[spec.datatype].config_name


def _platform(slot: SlotView) -> str:
    return f"{BACKEND}_{slot.signature.format}"

"""Every call that a service makes to the mesh, with stubs generated from protos/ and without our SDK.

python client.py ADDRESS DIGITS: DIGITS is a file with a digit in each line, its label and then 64 shades of grey.
"""
# ruff: noqa: T201

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator

import grpc
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from servemesh.api.oip.v2 import inference_pb2 as oip
from servemesh.api.oip.v2 import inference_pb2_grpc as oip_grpc
from servemesh.api.registry.v1 import registry_pb2 as registry
from servemesh.api.registry.v1 import registry_pb2_grpc as registry_grpc

MODEL = "digits"
PIXELS = 64
CALL_S = 10.0
READY_S = 60.0
SHORT_S = 0.5
MESSAGE_BYTES_MAX = 64 << 20  # what the mesh takes; grpcio alone would receive 4 MiB
Digits = list[tuple[int, list[float]]]


def main(address: str, path: str) -> None:
    """Say what is there, have the model served, ask it, and stop serving it."""
    digits = read_digits(path)
    options = [("grpc.max_receive_message_length", MESSAGE_BYTES_MAX)]
    with grpc.insecure_channel(address, options) as channel:
        inference = oip_grpc.GRPCInferenceServiceStub(channel)
        models = registry_grpc.RegistryServiceStub(channel)
        print_health(inference, health_pb2_grpc.HealthStub(channel))
        print_models(models)
        created = deploy(models)
        watch_until_ready(models)
        infer(inference, digits)
        print_served(inference)
        stream(inference, digits)
        meet_errors(inference)
        meet_deadline(models)
        if created:
            models.DeleteDeployment(
                registry.DeleteDeploymentRequest(name=f"deployments/{MODEL}"), timeout=CALL_S
            )
            print(f"deployment: deployments/{MODEL} deleted")


def read_digits(path: str) -> Digits:
    """Return the label and the pixels of each line."""
    with open(path) as file:
        rows = [[int(number) for number in line.split(",")] for line in file]
    return [(row[0], [float(shade) for shade in row[1:]]) for row in rows]


def print_health(inference: oip_grpc.GRPCInferenceServiceStub, health: health_pb2_grpc.HealthStub) -> None:
    """Ask in both ways whether the mesh takes calls: Kubernetes and load balancers use the second."""
    live = inference.ServerLive(oip.ServerLiveRequest(), timeout=CALL_S).live
    ready = inference.ServerReady(oip.ServerReadyRequest(), timeout=CALL_S).ready
    status = health.Check(health_pb2.HealthCheckRequest(), timeout=CALL_S).status
    print(f"live: {str(live).lower()}")
    print(f"ready: {str(ready).lower()}")
    print(f"health: {health_pb2.HealthCheckResponse.ServingStatus.Name(status)}")


def print_models(models: registry_grpc.RegistryServiceStub) -> None:
    """List what the registry has, page by page."""
    token = ""
    while True:
        page = models.ListModels(registry.ListModelsRequest(page_token=token), timeout=CALL_S)
        for model in page.models:
            print(f"model: {model.name}, newest version {model.latest_version_id}")
        token = page.next_page_token
        if not token:
            return


def deploy(models: registry_grpc.RegistryServiceStub) -> bool:
    """Ask that the model be served; False if it is already."""
    wish = registry.Deployment(model=f"models/{MODEL}", replicas=1)
    try:
        models.CreateDeployment(registry.CreateDeploymentRequest(deployment=wish), timeout=CALL_S)
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
            raise
        return False
    return True


def watch_until_ready(models: registry_grpc.RegistryServiceStub) -> None:
    """Follow the Deployment until as many workers hold it as were asked for."""
    watch = models.WatchDeployment(
        registry.WatchDeploymentRequest(name=f"deployments/{MODEL}"), timeout=READY_S
    )
    for answer in watch:
        found = answer.deployment
        if found.state == registry.Deployment.STATE_FAILED:
            raise SystemExit(f"{found.name} cannot be served: {found.reason} {found.message}")
        if found.state == registry.Deployment.STATE_READY:
            print(f"deployment: {found.name} READY, {found.ready_replicas} of {found.replicas} replicas")
            break
    watch.cancel()


def infer(inference: oip_grpc.GRPCInferenceServiceStub, digits: Digits) -> None:
    """Classify all digits in one call."""
    pixels = [shade for _, image in digits for shade in image]
    answer = inference.ModelInfer(request_of(pixels, [len(digits), PIXELS]), timeout=CALL_S)
    labels = labels_of(answer)
    right = sum(label == expected for label, (expected, _) in zip(labels, digits, strict=True))
    said = " ".join(map(str, labels))
    print(f"infer: version {answer.model_version}, labels {said}, {right} of {len(digits)} right")
    (probability,) = struct.unpack_from("<f", raw_output(answer, "probabilities"), 4 * labels[0])
    print(f"probability of the first: {probability:.4f}")


def request_of(
    pixels: list[float], shape: list[int], model: str = MODEL, id: str = ""
) -> oip.ModelInferRequest:
    """Return a request with raw contents: row-major, little-endian."""
    tensor = oip.ModelInferRequest.InferInputTensor(name="image", datatype="FP32", shape=shape)
    raw = struct.pack(f"<{len(pixels)}f", *pixels)
    return oip.ModelInferRequest(model_name=model, id=id, inputs=[tensor], raw_input_contents=[raw])


def raw_output(answer: oip.ModelInferResponse, name: str) -> bytes:
    """Return the bytes of one output: they lie in the order of the outputs."""
    position = [output.name for output in answer.outputs].index(name)
    return answer.raw_output_contents[position]


def labels_of(answer: oip.ModelInferResponse) -> list[int]:
    """Return the INT64 output `label`."""
    return [label for (label,) in struct.iter_unpack("<q", raw_output(answer, "label"))]


def print_served(inference: oip_grpc.GRPCInferenceServiceStub) -> None:
    """Tell what OIP says of the model that is served."""
    ready = inference.ModelReady(oip.ModelReadyRequest(name=MODEL), timeout=CALL_S).ready
    print(f"model ready: {str(ready).lower()}")
    index = inference.RepositoryIndex(oip.RepositoryIndexRequest(ready=True), timeout=CALL_S)
    for model in index.models:
        print(f"index: {model.name} version {model.version} {model.state}")
    metadata = inference.ModelMetadata(oip.ModelMetadataRequest(name=MODEL), timeout=CALL_S)
    for kind, tensors in (("input", metadata.inputs), ("output", metadata.outputs)):
        for tensor in tensors:
            print(f"{kind}: {tensor.name} {tensor.datatype} [{','.join(map(str, tensor.shape))}]")


def stream(inference: oip_grpc.GRPCInferenceServiceStub, digits: Digits) -> None:
    """Send three requests over one stream; the second is wrong, and the stream goes on."""

    def requests() -> Iterator[oip.ModelInferRequest]:
        for number, (_, image) in enumerate(digits[:3], start=1):
            pixels = image[:-1] if number == 2 else image
            yield request_of(pixels, [1, len(pixels)], id=str(number))

    for answer in inference.ModelStreamInfer(requests(), timeout=CALL_S):
        response = answer.infer_response
        if answer.error_message:
            code = response.parameters["servemesh_code"].string_param
            reason = response.parameters["servemesh_reason"].string_param
            print(f"stream: answer {response.id}, {code} {reason}")
        else:
            print(f"stream: answer {response.id}, label {labels_of(response)[0]}")


def meet_errors(inference: oip_grpc.GRPCInferenceServiceStub) -> None:
    """Send two calls that are refused: branch on code and reason, never on the text."""
    for request in (
        request_of([0.0] * PIXELS, [1, PIXELS], model="nobody"),
        request_of([0.0] * 63, [1, 63]),
    ):
        try:
            inference.ModelInfer(request, timeout=CALL_S)
        except grpc.RpcError as error:
            info = error_info(error)
            about = ", ".join(f"{key}={info.metadata[key]}" for key in sorted(info.metadata))
            print(f"error: {error.code().name} {info.reason} of {info.domain}, {about}")


def error_info(error: grpc.RpcError) -> ErrorInfo:
    """Return the ErrorInfo in the trailer grpc-status-details-bin; an empty one if the mesh sent none."""
    info = ErrorInfo()
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        if detail.Unpack(info):
            break
    return info


def meet_deadline(models: registry_grpc.RegistryServiceStub) -> None:
    """Watch for longer than the deadline: a watch does not end by itself."""
    request = registry.WatchDeploymentRequest(name=f"deployments/{MODEL}")
    try:
        for _ in models.WatchDeployment(request, timeout=SHORT_S):
            pass
    except grpc.RpcError as error:
        print(f"deadline: {error.code().name}")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""What a real mesh shows of itself: traces over all hops, one page of metrics, logs that machines read."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import nats
import numpy as np
import psutil
import pytest

from examples.demo.mesh import DemoMesh
from examples.demo.models import Digits
from servemesh.api.events.v1 import events_pb2
from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.api.oip.v2 import inference_pb2_grpc as pb_grpc
from servemesh.client import Client
from servemesh.errors import InvalidError
from servemesh.observe import names
from servemesh.observe.otlp import EXPORT_TIMEOUT_S
from tests.harness import metrics_page
from tests.harness.otlp_collector import Collector, ExportedSpan, running_collector
from tests.harness.processes import Child
from tests.harness.waiting import blocking_until

EXPORT_S = 60.0
INFER = "inference.GRPCInferenceService/ModelInfer"
INFER_MANY = "servemesh.api.worker.v1.WorkerService/InferMany"
STREAM = "inference.GRPCInferenceService/ModelStreamInfer"
EDGE, WORKER, GATEWAY = "servemesh-edge", "servemesh-worker", "servemesh-gateway"
SPAN_ID = "b7ad6b7169203331"
MARK = "never-to-be-logged"
APP = Path(__file__).with_name("traced_program.py")


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """A collector that takes everything."""
    with running_collector(tmp_path_factory.mktemp("collector")) as collector:
        yield collector


@pytest.fixture(scope="module")
def traced_mesh(
    tmp_path_factory: pytest.TempPathFactory, collector: Collector, digits: Digits
) -> Iterator[DemoMesh]:
    """A mesh that exports to the collector and serves `digits`."""
    folder = tmp_path_factory.mktemp("mesh")
    with exporting(collector.endpoint), DemoMesh(folder, workers=1) as mesh:
        Child.shared_pids.add(mesh.pid)
        with Client(mesh.address) as client:
            client.push("digits", digits.model, labels={"note": MARK})
            client.deploy("digits", wait_s=60)
        yield mesh


@contextmanager
def exporting(endpoint: str) -> Iterator[None]:
    """Tell processes that are started in the block to export."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        yield


def images(rows: int) -> pb.ModelInferRequest:
    return pb.ModelInferRequest(
        model_name="digits",
        inputs=[pb.ModelInferRequest.InferInputTensor(name="image", datatype="FP32", shape=[rows, 64])],
        raw_input_contents=[np.zeros((rows, 64), np.float32).tobytes()],
    )


class Trace:
    """The spans of one trace, once they are all there."""

    def __init__(self, collector: Collector, trace_id: str, *expected: tuple[str, str]) -> None:
        def complete() -> bool:
            self.spans = collector.spans(trace_id)
            return set(expected) <= {(span.service, span.name) for span in self.spans}

        blocking_until(complete, EXPORT_S, what=f"spans {expected}")

    def one(self, service: str, name: str) -> ExportedSpan:
        found = [span for span in self.spans if (span.service, span.name) == (service, name)]
        assert len(found) == 1, f"{len(found)} spans {name} of {service}"
        return found[0]

    def of_edge(self, *, under: str) -> ExportedSpan:
        return next(span for span in self.spans if span.service == EDGE and span.parent_id == under)

    def chain(self, span: ExportedSpan) -> list[str]:
        """Return the services and names from the root to `span`."""
        by_id = {one.span_id: one for one in self.spans}
        names_up = []
        at: ExportedSpan | None = span
        while at is not None:
            names_up.append(at.service if at.service == EDGE else f"{at.service} {at.name}")
            at = by_id.get(at.parent_id)
        return names_up[::-1]


@pytest.mark.timeout(240)
def test_one_trace_leads_from_the_program_to_the_runtime(
    traced_mesh: DemoMesh, collector: Collector, digits: Digits
):
    done = subprocess.run(
        [sys.executable, str(APP), traced_mesh.address, str(digits.model)],
        env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    trace_id = done.stdout.strip()
    commit = "servemesh.api.registry.v1.RegistryService/CommitUpload"
    trace = Trace(collector, trace_id, (WORKER, names.SPAN_RUN), ("servemesh-registry", commit))
    run = trace.one(WORKER, names.SPAN_RUN)
    assert trace.chain(run) == [
        "app work",
        f"app {INFER}",
        EDGE,
        f"{WORKER} {INFER}",
        f"{WORKER} {names.SPAN_BATCH}",
        f"{WORKER} {names.SPAN_RUN}",
    ]
    call = trace.one(WORKER, INFER)
    assert trace.one(WORKER, names.SPAN_QUEUE).parent_id == call.span_id
    assert trace.one(WORKER, names.SPAN_BATCH).links == [call.span_id]
    assert asyncio.run(trace_of_version_created(traced_mesh, "traced")) == trace_id


async def trace_of_version_created(mesh: DemoMesh, model: str) -> str:
    client = await nats.connect(f"nats://{mesh.process('nats')['address']}")
    try:
        subscription = await client.jetstream().subscribe(
            f"servemesh.v1.registry.version.created.{model}", ordered_consumer=True
        )
        message = await subscription.next_msg(timeout=10)
        return events_pb2.Event.FromString(message.data).trace_parent.split("-")[1]
    finally:
        await client.close()


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("method", "onward"), [(STREAM, INFER_MANY), (INFER, INFER)])
def test_what_goes_through_the_gateway_stays_in_its_trace(
    traced_mesh: DemoMesh, collector: Collector, method: str, onward: str
):
    trace_id = os.urandom(16).hex()
    metadata = [("traceparent", f"00-{trace_id}-{SPAN_ID}-01")]
    with grpc.insecure_channel(traced_mesh.address) as channel:
        stub = pb_grpc.GRPCInferenceServiceStub(channel)
        if method == INFER:
            unload(traced_mesh, stub)
            stub.ModelInfer(images(1), metadata=metadata, timeout=20)
        else:
            (answer,) = stub.ModelStreamInfer(iter([images(1)]), metadata=metadata, timeout=20)
            assert not answer.error_message
    trace = Trace(collector, trace_id, (GATEWAY, method), (WORKER, names.SPAN_RUN), (WORKER, onward))
    blocking_until(lambda: any(span.service == EDGE for span in collector.spans(trace_id)), EXPORT_S)
    trace = Trace(collector, trace_id, (WORKER, names.SPAN_RUN))
    assert trace.of_edge(under=SPAN_ID)
    activated = [span.name for span in trace.spans if span.name == names.SPAN_ACTIVATION]
    assert len(activated) == (method == INFER)
    assert trace.chain(trace.one(WORKER, names.SPAN_RUN)) == [
        EDGE,
        f"{GATEWAY} {method}",
        f"{WORKER} {onward}",
        f"{WORKER} {names.SPAN_BATCH}",
        f"{WORKER} {names.SPAN_RUN}",
    ]


def unload(mesh: DemoMesh, edge: pb_grpc.GRPCInferenceServiceStub) -> None:
    """Have nobody hold the model, until a call asks for it."""
    with grpc.insecure_channel(mesh.process("worker-1")["address"]) as channel:
        worker = pb_grpc.GRPCInferenceServiceStub(channel)
        worker.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="digits"), timeout=10)
    blocking_until(lambda: not edge.ModelReady(pb.ModelReadyRequest(name="digits"), timeout=5).ready)


def test_a_caller_who_does_not_sample_leaves_no_span(traced_mesh: DemoMesh, collector: Collector):
    sampled, unsampled = os.urandom(16).hex(), os.urandom(16).hex()
    with grpc.insecure_channel(traced_mesh.address) as channel:
        stub = pb_grpc.GRPCInferenceServiceStub(channel)
        for trace_id, flags in ((unsampled, "00"), (sampled, "01")):
            metadata = [("traceparent", f"00-{trace_id}-{SPAN_ID}-{flags}")]
            stub.ModelInfer(images(1), metadata=metadata, timeout=20)
    Trace(collector, sampled, (WORKER, names.SPAN_RUN), (WORKER, INFER))
    blocking_until(lambda: any(span.service == EDGE for span in collector.spans(sampled)), EXPORT_S)
    assert collector.spans(unsampled) == []


@pytest.mark.timeout(120)
def test_every_process_sends_its_metrics_too(traced_mesh: DemoMesh, collector: Collector):
    wanted = {(service, "servemesh.process.info") for service in (WORKER, GATEWAY, "servemesh-registry")}
    blocking_until(lambda: wanted <= collector.metrics(), 60)


def test_the_page_of_the_mesh_keeps_every_rule_and_has_everything(traced_mesh: DemoMesh):
    with Client(traced_mesh.address) as client:
        client.infer("digits", {"image": np.zeros((3, 64), np.float32)})
        with pytest.raises(InvalidError):
            client.infer("digits", {"picture": np.zeros((3, 64), np.float32)})
    text = metrics_page.read(traced_mesh.status()["metrics_address"])
    found = metrics_page.families(text)
    (failures,) = found["nv_inference_request_failure"].samples
    assert failures.value >= 1
    assert failures.labels == {"process": "worker-1", "model": "digits", "version": "1"}
    (count,) = found["nv_inference_count"].samples
    assert count.value >= 3
    processes = {name: {s.labels["process"] for s in family.samples} for name, family in found.items()}
    everybody = {"nats", "weed", "registry", "metrics", "optimizer", "gateway", "rest", "envoy"}
    everybody |= {"console", "worker-1", "local"}
    assert processes["servemesh_local_process_memory_bytes"] == everybody
    assert processes["servemesh_local_process_cpu_seconds"] == everybody
    assert {"registry", "gateway", "worker-1"} <= processes["servemesh_process_loop_lag_seconds"]
    assert processes["envoy_http_downstream_rq"] == {"envoy"} or "envoy_http_downstream_rq_total" in found
    assert not any(name.startswith("nv_gpu") for name in found) or Path("/dev/nvidiactl").exists()
    missing = {metric.name for metric in ALWAYS_THERE if exposed(metric) not in text}
    assert not missing


# Nobody has asked for a job yet, nor for drift.
NOT_ASKED_FOR = (
    names.OPTIMIZER_JOBS_ENDED,
    names.OPTIMIZER_JOB_DURATION,
    names.OPTIMIZER_FACTS_SENT,
    names.WORKER_FEATURE_VALUES,
)
ALWAYS_THERE = [
    metric
    for metric in vars(names).values()
    if isinstance(metric, names.Metric)
    # Envoy names its own for itself; there may be no GPU; the metrics service counts what nobody may have caused yet.
    and not metric.name.startswith(
        ("envoy.", "servemesh.gpu.", "servemesh.metrics.", "servemesh.process.telemetry.")
    )
    and metric
    not in (names.REGISTRY_UNPLACED, names.GATEWAY_XDS_REFUSALS, names.WORKER_QUEUE_DURATION, *NOT_ASKED_FOR)
]


def exposed(metric: names.Metric) -> str:
    return "# TYPE " + metric.name.replace(".", "_") + (f"_{metric.unit}" if metric.unit else "")


def test_logs_are_objects_with_names_and_tell_no_secret(traced_mesh: DemoMesh):
    with Client(traced_mesh.address) as client, pytest.raises(InvalidError):
        client.infer("digits", {"image": np.array([MARK.encode()])}, parameters={"note": MARK})
    events = {value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)}
    for log in sorted((traced_mesh.folder / "logs").glob("*.log")):
        for text in log.read_text().splitlines():
            line = json.loads(text)
            assert line["event"] in events, f"{log.name}: {line['event']}"
            assert {"time", "level", "service"} <= line.keys()
    everything = "".join(log.read_text() for log in (traced_mesh.folder / "logs").iterdir())
    (identity,) = json.loads((traced_mesh.folder / "weed" / "s3.json").read_text())["identities"]
    for secret in (identity["credentials"][0]["secretKey"], MARK, "X-Amz-Signature", "Traceback"):
        assert secret not in everything


@pytest.mark.timeout(240)
def test_a_collector_that_never_answers_costs_calls_nothing(
    tmp_path: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SERVEMESH_LOCAL_WITH_METRICS", "false")  # so that everybody faces it alone
    with (
        running_collector(tmp_path, silent=True) as collector,
        exporting(collector.endpoint),
        DemoMesh(tmp_path / "mesh", workers=1) as mesh,
        Client(mesh.address) as client,
    ):
        client.push("digits", digits.model)
        client.deploy("digits", wait_s=60)
        worker = psutil.Process(mesh.process("worker-1")["pid"])
        with grpc.insecure_channel(mesh.address) as channel:
            stub = pb_grpc.GRPCInferenceServiceStub(channel)
            slowest_s, before_bytes = 0.0, worker.memory_info().rss
            for number in range(1, 1_001):
                metadata = [("traceparent", f"00-{number:032x}-{SPAN_ID}-01")]
                began_s = time.monotonic()
                stub.ModelInfer(images(1), metadata=metadata, timeout=20)
                slowest_s = max(slowest_s, time.monotonic() - began_s)
        assert slowest_s < EXPORT_TIMEOUT_S
        assert worker.memory_info().rss - before_bytes < 50_000_000
        for names_of in (("gateway", "worker-1"), ("registry",)):  # whom the worker tells that it leaves
            ending = [psutil.Process(mesh.process(name)["pid"]) for name in names_of]
            for process in ending:
                process.terminate()
            assert not psutil.wait_procs(ending, timeout=20)[1]

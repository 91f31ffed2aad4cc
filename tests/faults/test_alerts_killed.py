"""kill -9 of the metrics service while alerts fire and end: none is forgotten, and each is told of."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from servemesh.api.metrics.v1 import metrics_pb2 as pb
from servemesh.api.metrics.v1 import metrics_pb2_grpc as pb_grpc
from servemesh.api.otlp.v1 import metrics_export_pb2 as export_pb2
from servemesh.api.otlp.v1 import metrics_pb2 as otlp_pb
from servemesh.observe import otlp_paths
from servemesh.observe.otlp_metrics import attributes_of, resource_of
from tests.harness.alert_hook import Hook
from tests.harness.processes import Child, accepts, free_ports
from tests.harness.waiting import blocking_until

SEED = 20_261_121
KILLS = 2
MODELS = ("a", "b", "c")
RULES = """
rules:
  - rule: hot
    summary: It is hot.
    text: "$model is at $value"
    severity: warning
    runbook: model-p99-high.md
    kind: threshold
    by: [model]
    signal: {metric: test.heat, measure: last, window: 3s}
    above: 1
    keep: 1s
"""


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as hook:
        yield hook


@pytest.fixture
def address() -> str:
    return f"127.0.0.1:{free_ports(1)[0]}"


@pytest.fixture
def service(tmp_path: Path, hook: Hook, address: str) -> Iterator[Child]:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "hot.yaml").write_text(RULES)
    nowhere = f"127.0.0.1:{free_ports(1)[0]}"
    settings = {
        "SERVEMESH_METRICS_ADDRESS": address,
        "SERVEMESH_METRICS_DATA_DIR": str(tmp_path / "metrics"),
        "SERVEMESH_METRICS_RULES_DIR": str(tmp_path / "rules"),
        "SERVEMESH_METRICS_RULES_INTERVAL_S": "0.2",
        "SERVEMESH_METRICS_RULES_LAG_S": "0",
        "SERVEMESH_METRICS_FLUSH_S": "0.1",
        "SERVEMESH_METRICS_ALERT_WAIT_S": "0",
        "SERVEMESH_METRICS_ALERT_INTERVAL_S": "0.2",
        "SERVEMESH_METRICS_NATS_URL": f"nats://{nowhere}",
        "SERVEMESH_METRICS_S3_ENDPOINT": nowhere,
        **hook.settings,
    }
    command = [sys.executable, "-m", "servemesh.metrics.main"]
    child = Child(command, log=tmp_path / "metrics.log", env={**os.environ, **settings})
    yield child
    child.stop()


class Mesh:
    """What is measured, and what the service says of it."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address, options=[("grpc.max_reconnect_backoff_ms", 200)])
        self.stub = pb_grpc.MetricsServiceStub(self.channel)
        self._export = self.channel.unary_unary(
            otlp_paths.METRICS,
            request_serializer=export_pb2.ExportMetricsServiceRequest.SerializeToString,
            response_deserializer=export_pb2.ExportMetricsServiceResponse.FromString,
        )
        self.heat = dict.fromkeys(MODELS, 0.0)

    def measure(self) -> None:
        """Send how hot each model is."""
        now_ns = time.time_ns()
        points = [
            otlp_pb.NumberDataPoint(
                attributes=attributes_of({"model": model}), as_double=heat, time_unix_nano=now_ns
            )
            for model, heat in self.heat.items()
        ]
        metric = otlp_pb.Metric(name="test.heat", gauge=otlp_pb.Gauge(data_points=points))
        resource = resource_of(service_dot_name="test", service_dot_instance_dot_id="test-1")
        scopes = [otlp_pb.ScopeMetrics(metrics=[metric])]
        whole = [otlp_pb.ResourceMetrics(resource=resource, scope_metrics=scopes)]
        self._export(
            export_pb2.ExportMetricsServiceRequest(resource_metrics=whole), timeout=10, wait_for_ready=True
        )

    def alerts(self) -> dict[str, pb.Alert]:
        """Every alert of the rule, by name."""
        request = pb.ListAlertsRequest(include_resolved=True, page_size=1_000)
        found = self.stub.ListAlerts(request, timeout=10, wait_for_ready=True)
        return {alert.name: alert for alert in found.alerts if alert.rule == "hot"}

    def firing(self) -> set[str]:
        """The models whose alert fires."""
        return {
            alert.labels["model"] for alert in self.alerts().values() if alert.state == pb.ALERT_STATE_FIRING
        }

    def fires(self) -> bool:
        """Measure once; whether what fires is what is hot."""
        self.measure()
        return self.firing() == {model for model, heat in self.heat.items() if heat > 1}


def test_no_alert_is_forgotten_and_each_is_told_of(service: Child, hook: Hook, address: str) -> None:
    chance = random.Random(int(os.environ.get("SERVEMESH_FAULTS_SEED", SEED)))
    port = int(address.rpartition(":")[2])
    mesh = Mesh(address)
    known: set[str] = set()
    with mesh.channel:
        for _ in range(KILLS):
            service.start()
            blocking_until(lambda: accepts(port), 60)
            assert known <= mesh.alerts().keys(), "an alert was forgotten"
            mesh.heat = {model: chance.choice([0.0, 2.0]) for model in MODELS}
            blocking_until(mesh.fires, 60, lambda: f"{mesh.heat} {mesh.firing()}")
            known = set(mesh.alerts())
            mesh.heat = {model: 2.0 - heat for model, heat in mesh.heat.items()}
            for _ in range(chance.randint(1, 60)):  # a look may be under way, or a delivery, or nothing yet
                mesh.measure()
            service.kill()
        service.start()
        mesh.heat = dict.fromkeys(MODELS, 0.0)
        blocking_until(mesh.fires, 60)
        fired = {name for name, alert in mesh.alerts().items() if alert.HasField("fire_time")}
        assert known <= fired
        blocking_until(lambda: {alert["name"] for alert in hook.alerts("resolved")} >= fired & told(hook), 60)
    assert hook.forged == 0


def told(hook: Hook) -> set[str]:
    """Alerts of which somebody was told that they fire."""
    return {alert["name"] for alert in hook.alerts("firing")}

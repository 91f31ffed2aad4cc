"""What the mesh is made of."""

from pathlib import Path

import pytest

from servemesh.local.domain.layout import MeshLayout, Programs, Secrets, port_names
from servemesh.local.domain.plan import MeshPlan, planned
from servemesh.local.domain.processes import Stage


def a_plan(workers: int = 2, *, has_optimizer: bool = True, has_metrics: bool = True) -> MeshPlan:
    ports = {name: 20_000 + index for index, name in enumerate(port_names(workers))}
    return planned(
        MeshLayout(
            data_dir=Path("/data"),
            workers=workers,
            cpus=2,
            has_optimizer=has_optimizer,
            has_metrics=has_metrics,
            edge_address="127.0.0.1:8001",
            http_address="127.0.0.1:8000",
            console_address="127.0.0.1:8080",
            ports=ports,
            secrets=Secrets(access_key="the-access-key", secret_key="the-secret-key"),
            programs=Programs(python=("python",), nats_server="nats-server", weed="weed", envoy="envoy"),
        )
    )


def test_there_are_as_many_workers_as_asked_for():
    names = [spec.name for spec in a_plan(workers=3).processes]
    assert names == [
        "nats",
        "weed",
        "registry",
        "metrics",
        "optimizer",
        "gateway",
        "envoy",
        "rest",
        "console",
        "worker-1",
        "worker-2",
        "worker-3",
    ]


def test_a_mesh_without_the_optimizers_extra_has_no_optimizer():
    plan = a_plan(has_optimizer=False)
    gateway = next(spec for spec in plan.processes if spec.name == "gateway")
    assert "optimizer" not in [spec.name for spec in plan.processes]
    assert gateway.environment["SERVEMESH_GATEWAY_OPTIMIZER_ADDRESS"] == ""


def test_every_process_of_ours_sends_its_telemetry_to_the_metrics_service():
    plan = a_plan()
    (metrics,) = (spec for spec in plan.processes if spec.name == "metrics")
    ours = [spec for spec in plan.processes if spec.environment]
    sent_to = {
        value for spec in ours for key, value in spec.environment.items() if key.endswith("_OTLP_ENDPOINT")
    }
    assert sent_to == {f"http://{metrics.address}"}
    assert all(any(key.endswith("_OTLP_ENDPOINT") for key in spec.environment) for spec in ours)
    assert metrics.stage > Stage.EDGE, "it must outlive those who send to it"


def test_who_looks_on_gives_way_to_who_works():
    niceness = {spec.name: spec.niceness for spec in a_plan().processes}
    assert niceness["metrics"] == niceness["console"] > 0
    assert {niceness[name] for name in ("worker-1", "envoy", "gateway", "registry")} == {0}


def test_a_mesh_without_the_metrics_extra_has_no_metrics_service_and_sends_nothing():
    plan = a_plan(has_metrics=False)
    assert "metrics" not in [spec.name for spec in plan.processes]
    assert not any(key.endswith("_OTLP_ENDPOINT") for spec in plan.processes for key in spec.environment)
    gateway = next(spec for spec in plan.processes if spec.name == "gateway")
    assert gateway.environment["SERVEMESH_GATEWAY_METRICS_SERVICE_ADDRESS"] == ""


def test_no_two_processes_share_an_address():
    addresses = [spec.address for spec in a_plan(workers=5).processes]
    assert len(set(addresses)) == len(addresses)


def test_nats_writes_to_disk_before_it_acknowledges():
    config = a_plan().files[Path("/data/nats/nats.conf")]
    assert "sync_interval: always" in config


def test_the_secret_key_stands_on_no_command_line():
    assert not any("secret-key" in word for spec in a_plan().processes for word in spec.command)


def test_a_plan_that_is_printed_shows_no_secret():
    assert "the-secret-key" not in repr(Secrets(access_key="a", secret_key="the-secret-key"))


def test_envoy_waits_for_what_the_gateway_writes_in_this_run():
    plan = a_plan()
    envoy = next(spec for spec in plan.processes if spec.name == "envoy")
    assert envoy.needs_file == "/data/gateway/envoy-bootstrap.json"
    assert Path(envoy.needs_file) in plan.stale


def test_workers_stop_first_and_stores_last():
    stages = {spec.name: spec.stage for spec in a_plan().processes}
    order = sorted(stages, key=lambda name: stages[name])
    assert order[0].startswith("worker")
    assert {order[-1], order[-2]} == {"nats", "weed"}
    assert stages["gateway"] == stages["envoy"] == Stage.EDGE


@pytest.mark.parametrize("service", ["registry", "optimizer", "gateway", "worker-1"])
def test_every_service_is_told_where_nats_is(service: str):
    spec = next(spec for spec in a_plan().processes if spec.name == service)
    prefix = f"SERVEMESH_{service.split('-')[0].upper()}_"
    assert spec.environment[f"{prefix}NATS_URL"] == "nats://127.0.0.1:20000"


def test_workers_share_half_of_the_memory():
    shares = [
        float(spec.environment["SERVEMESH_WORKER_MEMORY_SHARE"])
        for spec in a_plan(workers=4).processes
        if spec.name.startswith("worker")
    ]
    assert sum(shares) == pytest.approx(0.5)


def test_the_rest_front_asks_the_public_address_and_serves_the_public_http_port():
    rest = next(spec for spec in a_plan().processes if spec.name == "rest")
    assert rest.address == rest.environment["SERVEMESH_GATEWAY_HTTP_ADDRESS"] == "127.0.0.1:8000"
    assert rest.environment["SERVEMESH_GATEWAY_HTTP_EDGE_ADDRESS"] == "127.0.0.1:8001"


def test_the_console_asks_the_public_address_and_is_not_there_without_metrics():
    (console,) = (spec for spec in a_plan().processes if spec.name == "console")
    assert console.address == "127.0.0.1:8080"
    assert console.environment["SERVEMESH_CONSOLE_EDGE_ADDRESS"] == "127.0.0.1:8001"
    assert "console" not in [spec.name for spec in a_plan(has_metrics=False).processes]

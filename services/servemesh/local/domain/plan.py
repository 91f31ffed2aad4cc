"""Which processes make up the local mesh, and what each is told: a plain value made from plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from servemesh.local.domain.layout import MeshLayout, Secrets
from servemesh.local.domain.processes import ProcessSpec, Stage

BUCKET = "servemesh"
MEMORY_SHARE = 0.5
"""Share of this machine's memory that all workers together may fill with models."""
NICENESS = {"metrics": 10, "console": 10}  # who looks on gives way to who works
_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshPlan:
    """Everything the supervisor is to start, and the files that must lie ready before it does."""

    processes: tuple[ProcessSpec, ...]
    files: Mapping[Path, str]
    folders: tuple[Path, ...]
    stale: tuple[Path, ...]
    """What a former run left behind and this run must not read."""
    drain_url: str
    """POST tells the edge to take no new connections."""


def planned(layout: MeshLayout) -> MeshPlan:
    """Return what to start."""
    data_dir = layout.data_dir
    numbers = range(1, layout.workers + 1)
    return MeshPlan(
        processes=(
            _nats(layout),
            _weed(layout),
            _registry(layout),
            *((_metrics(layout),) if layout.has_metrics else ()),
            *((_optimizer(layout),) if layout.has_optimizer else ()),
            _gateway(layout),
            _envoy(layout),
            _rest(layout),
            *((_console(layout),) if layout.has_metrics else ()),
            *(_worker(layout, number) for number in numbers),
        ),
        files={
            data_dir / "nats" / "nats.conf": _nats_config(layout),
            data_dir / "weed" / "s3.json": _s3_config(layout.secrets),
        },
        folders=tuple(
            data_dir / name
            for name in (
                "nats",
                "weed",
                "weed/data",
                "registry",
                "optimizer",
                "metrics",
                "gateway",
                *(f"worker-{number}" for number in numbers),
            )
        ),
        stale=(_bootstrap(layout),),
        drain_url=f"http://{layout.address('envoy-admin')}/drain_listeners?graceful",
    )


def _nats(layout: MeshLayout) -> ProcessSpec:
    return ProcessSpec(
        name="nats",
        command=(layout.programs.nats_server, "--config", str(layout.data_dir / "nats" / "nats.conf")),
        address=layout.address("nats"),
        stage=Stage.STORES,
        ready_url=f"http://{layout.address('nats-monitor')}/healthz",
        health_url=f"http://{layout.address('nats-monitor')}/varz",
    )


def _nats_config(layout: MeshLayout) -> str:
    return "\n".join(
        (
            f"listen: {json.dumps(layout.address('nats'))}",
            f"http: {json.dumps(layout.address('nats-monitor'))}",
            'server_name: "servemesh-local"',
            "max_payload: 1MB",
            "jetstream {",
            f"  store_dir: {json.dumps(str(layout.data_dir / 'nats'))}",
            "  # The default acknowledges what a power cut within two minutes would lose.",
            "  sync_interval: always",
            "}",
            "",
        )
    )


def _weed(layout: MeshLayout) -> ProcessSpec:
    folder = layout.data_dir / "weed"
    ports = layout.ports
    return ProcessSpec(
        name="weed",
        command=(
            layout.programs.weed,
            "mini",
            f"-dir={folder / 'data'}",
            f"-ip={_HOST}",
            f"-ip.bind={_HOST}",
            f"-s3.config={folder / 's3.json'}",
            f"-s3.port={ports['weed-s3']}",
            f"-s3.port.grpc={ports['weed-s3-grpc']}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.localSocket={folder / 's3.sock'}",
            "-s3.iam=false",
            f"-master.port={ports['weed-master']}",
            f"-master.port.grpc={ports['weed-master-grpc']}",
            "-master.telemetry=false",
            f"-volume.port={ports['weed-volume']}",
            f"-volume.port.grpc={ports['weed-volume-grpc']}",
            f"-filer.port={ports['weed-filer']}",
            f"-filer.port.grpc={ports['weed-filer-grpc']}",
            f"-filer.localSocket={folder / 'filer.sock'}",
            "-webdav=false",
            "-admin.ui=false",
            f"-admin.port={ports['weed-admin']}",
            f"-bucket={BUCKET}",
        ),
        address=layout.address("weed-s3"),
        stage=Stage.STORES,
        ready_url=f"http://{layout.address('weed-s3')}/status",
        health_url=f"http://{layout.address('weed-s3')}/status",
    )


def _s3_config(secrets: Secrets) -> str:
    credentials = [{"accessKey": secrets.access_key, "secretKey": secrets.secret_key}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    return json.dumps({"identities": [{"name": BUCKET, "credentials": credentials, "actions": actions}]})


def _registry(layout: MeshLayout) -> ProcessSpec:
    folder = layout.data_dir / "registry"
    return _service(
        layout,
        "registry",
        "registry",
        Stage.REGISTRY,
        DATABASE_URL=f"sqlite+aiosqlite:///{folder / 'registry.db'}",
        DATA_DIR=str(folder),
        **_object_store(layout),
    )


def _optimizer(layout: MeshLayout) -> ProcessSpec:
    return _service(
        layout,
        "optimizer",
        "optimizer",
        Stage.EDGE,
        REGISTRY_ADDRESS=layout.address("registry"),
        DATA_DIR=str(layout.data_dir / "optimizer"),
        JOB_THREADS_MAX=str(layout.cpus),
        **_object_store(layout),
    )


def _metrics(layout: MeshLayout) -> ProcessSpec:
    """It outlives everybody who sends to it, and what it sends on itself goes where the user says."""
    return _service(
        layout,
        "metrics",
        "metrics",
        Stage.REGISTRY,
        DATA_DIR=str(layout.data_dir / "metrics"),
        **_object_store(layout),
    )


def _gateway(layout: MeshLayout) -> ProcessSpec:
    return _service(
        layout,
        "gateway",
        "gateway",
        Stage.EDGE,
        REGISTRY_ADDRESS=layout.address("registry"),
        OPTIMIZER_ADDRESS=layout.address("optimizer") if layout.has_optimizer else "",
        METRICS_SERVICE_ADDRESS=layout.address("metrics") if layout.has_metrics else "",
        XDS_ADDRESS=layout.address("gateway-xds"),
        ADVERTISE_ADDRESS=layout.address("gateway"),
        EDGE_ADDRESS=layout.edge_address,
        ENVOY_ADMIN_ADDRESS=layout.address("envoy-admin"),
        STATE_DIR=str(layout.data_dir / "gateway"),
    )


def _bootstrap(layout: MeshLayout) -> Path:
    return layout.data_dir / "gateway" / "envoy-bootstrap.json"


def _envoy(layout: MeshLayout) -> ProcessSpec:
    admin = f"http://{layout.address('envoy-admin')}"
    return ProcessSpec(
        name="envoy",
        command=(
            layout.programs.envoy,
            "--config-path",
            str(_bootstrap(layout)),
            "--concurrency",
            str(max(1, layout.cpus // 2)),
            # Two meshes on one machine must not meet in one shared-memory region.
            "--disable-hot-restart",
            "--log-level",
            "warning",
        ),
        address=layout.edge_address,
        stage=Stage.EDGE,
        ready_url=f"{admin}/ready",
        health_url=f"{admin}/server_info",
        members_url=f"{admin}/stats?filter=cluster.workers.*membership",
        metrics_url=f"{admin}/stats/prometheus?usedonly",
        needs_file=str(_bootstrap(layout)),
    )


def _rest(layout: MeshLayout) -> ProcessSpec:
    return _service(
        layout,
        "gateway.rest",
        "rest",
        Stage.EDGE,
        prefix="SERVEMESH_GATEWAY_HTTP_",
        ADDRESS=layout.http_address,
        EDGE_ADDRESS=layout.edge_address,
    )


def _console(layout: MeshLayout) -> ProcessSpec:
    return _service(
        layout,
        "metrics.console",
        "console",
        Stage.EDGE,
        prefix="SERVEMESH_CONSOLE_",
        ADDRESS=layout.console_address,
        EDGE_ADDRESS=layout.edge_address,
    )


def _worker(layout: MeshLayout, number: int) -> ProcessSpec:
    name = f"worker-{number}"
    return _service(
        layout,
        "worker",
        name,
        Stage.WORKERS,
        REGISTRY_ADDRESS=layout.address("registry"),
        ADVERTISE_ADDRESS=layout.address(name),
        CACHE_DIR=str(layout.data_dir / name),
        MEMORY_SHARE=f"{MEMORY_SHARE / layout.workers:.6f}",
        **_object_store(layout),
    )


def _object_store(layout: MeshLayout) -> dict[str, str]:
    return {
        "S3_ENDPOINT": layout.address("weed-s3"),
        "S3_ACCESS_KEY": layout.secrets.access_key,
        "S3_SECRET_KEY": layout.secrets.secret_key,
        "S3_BUCKET": BUCKET,
        "S3_SECURE": "false",
    }


def _service(
    layout: MeshLayout, service: str, name: str, stage: Stage, *, prefix: str = "", **variables: str
) -> ProcessSpec:
    """Return a process of ours: configured by its environment, ready when it logs that it is."""
    prefix = prefix or f"SERVEMESH_{service.upper()}_"
    metrics_address = layout.address(f"{name}-metrics")
    address = variables.get("ADDRESS") or layout.address(name)
    common = {
        "ADDRESS": address,
        "METRICS_ADDRESS": metrics_address,
        "INSTANCE": name,
        "NATS_URL": f"nats://{layout.address('nats')}",
        **({"OTLP_ENDPOINT": f"http://{layout.address('metrics')}"} if layout.has_metrics else {}),
    }
    return ProcessSpec(
        name=name,
        command=(*layout.programs.python, "-m", f"servemesh.{service}.main"),
        environment={f"{prefix}{key}": value for key, value in {**common, **variables}.items()},
        address=address,
        stage=stage,
        health_url=f"http://{metrics_address}/healthz",
        metrics_url=f"http://{metrics_address}/metrics",
        niceness=NICENESS.get(name, 0),
    )

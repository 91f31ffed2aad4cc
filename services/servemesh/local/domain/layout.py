"""What a plan of the local mesh is made from: folders, ports, programs and secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_HOST = "127.0.0.1"
_WEED_PORTS = (
    "s3",
    "s3-grpc",
    "master",
    "master-grpc",
    "volume",
    "volume-grpc",
    "filer",
    "filer-grpc",
    "admin",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """The programs to start, each as the first words of a command."""

    python: tuple[str, ...]
    nats_server: str
    weed: str
    envoy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """The key of the object store, made once for a data folder."""

    access_key: str
    secret_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshLayout:
    """What the plan is made from. `ports` has a port for each of `port_names`."""

    data_dir: Path
    workers: int
    cpus: int
    has_optimizer: bool = True  # it is an extra of its own
    has_metrics: bool = True  # so is this
    edge_address: str
    http_address: str
    console_address: str
    ports: Mapping[str, int]
    secrets: Secrets
    programs: Programs

    def address(self, name: str) -> str:
        """Return host:port of the port called `name`."""
        return f"{_HOST}:{self.ports[name]}"


def port_names(workers: int) -> list[str]:
    """Return the names of the ports that a mesh with so many workers needs beside its public ones."""
    names = ["nats", "nats-monitor", *(f"weed-{part}" for part in _WEED_PORTS)]
    names += ["registry", "registry-metrics", "gateway", "gateway-metrics", "gateway-xds", "envoy-admin"]
    names += [
        "optimizer",
        "optimizer-metrics",
        "rest-metrics",
        "metrics",
        "metrics-metrics",
        "console-metrics",
    ]
    for number in range(1, workers + 1):
        names += [f"worker-{number}", f"worker-{number}-metrics"]
    return names

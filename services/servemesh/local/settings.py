"""What can be set of the local mesh, from the environment: SERVEMESH_LOCAL_*."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def default_data_dir() -> Path:
    """Return the data folder that is used when none is named, by the XDG rules."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "servemesh"


class Settings(BaseSettings):
    """The local mesh: where it keeps its data, what it listens on, how patient it is."""

    model_config = SettingsConfigDict(env_prefix="SERVEMESH_LOCAL_", frozen=True)

    data_dir: Path = Field(default_factory=default_data_dir)
    """Everything the mesh stores lies here."""
    workers: int = Field(default=2, ge=1, le=64)
    """Worker processes."""
    workers_max: int = Field(default=0, ge=0, le=64)
    """Where it is more than `workers`, so many are started as the demand asks for, from `workers` up to this."""
    scaling_interval_s: float = Field(default=10.0, gt=0, le=600)
    """How often it is asked what the demand needs."""
    scaling_up_s: float = Field(default=20.0, ge=0, le=3600)
    """Workers are added when more were needed for so long, at every look."""
    scaling_down_s: float = Field(default=300.0, ge=0, le=86_400)
    """One worker is ended when fewer were needed for so long, at every look."""
    scaling_rest_s: float = Field(default=30.0, ge=0, le=3600)
    """The least time between two such changes."""
    port: int = Field(default=8001, ge=0, le=65535)
    """The mesh's one public gRPC port, Envoy's; 0 takes a free one."""
    http_port: int = Field(default=8000, ge=0, le=65535)
    """The mesh's one public HTTP port, for the Open Inference Protocol over REST; 0 takes a free one."""
    console_port: int = Field(default=8080, ge=0, le=65535)
    """The console's HTTP port; 0 takes a free one."""
    metrics_port: int = Field(default=8002, ge=0, le=65535)
    """Prometheus page of the whole mesh; 0 takes a free one."""
    with_metrics: bool = True
    """Start the metrics service and have all processes send to it; without it they keep what they measure."""
    grace_s: float = Field(default=60.0, gt=0, le=300)
    """A process that has not ended so long after it was told to is killed."""
    ready_timeout_s: float = Field(default=60.0, gt=0, le=600)
    """A process that is not ready so long after its start is killed and started again."""
    restart_delay_s_max: float = Field(default=10.0, gt=0, le=300)
    """The longest wait before a process that dies again and again is started once more."""
    scrape_timeout_s: float = Field(default=2.0, gt=0, le=30)
    """A process that does not give its metrics within this time is left out of the page."""
    log_size_bytes_max: int = Field(default=16 * 1024 * 1024, ge=64 * 1024)
    """A log is rotated at this size; one older log is kept."""


def inherited_environment() -> Mapping[str, str]:
    """Return the environment that children get beside their own settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SERVEMESH_LOCAL_")}


def supervisor_environment(
    *,
    data_dir: Path,
    workers: int,
    workers_max: int,
    port: int,
    http_port: int,
    console_port: int,
    metrics_port: int,
) -> Mapping[str, str]:
    """Return the environment that tells a supervisor process these settings."""
    return {
        **os.environ,
        "SERVEMESH_LOCAL_DATA_DIR": str(data_dir),
        "SERVEMESH_LOCAL_WORKERS": str(workers),
        "SERVEMESH_LOCAL_WORKERS_MAX": str(workers_max),
        "SERVEMESH_LOCAL_PORT": str(port),
        "SERVEMESH_LOCAL_HTTP_PORT": str(http_port),
        "SERVEMESH_LOCAL_CONSOLE_PORT": str(console_port),
        "SERVEMESH_LOCAL_METRICS_PORT": str(metrics_port),
    }

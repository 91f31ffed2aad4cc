"""What can be set of a console, from the environment: SERVEMESH_CONSOLE_*."""

from __future__ import annotations

from typing import Literal

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from servemesh.names import ID_PATTERN

_ADDRESS = r".+:\d{1,5}"


class Settings(BaseSettings):
    """One console. Sizes in bytes, times in seconds."""

    model_config = SettingsConfigDict(env_prefix="SERVEMESH_CONSOLE_", frozen=True, populate_by_name=True)

    instance: str = Field(default="console", pattern=f"^{ID_PATTERN}$")
    """Its id, in logs and metrics."""
    address: str = Field(default="127.0.0.1:8080", pattern=_ADDRESS)
    """Where browsers find it; port 0 takes a free one."""
    metrics_address: str = Field(default="127.0.0.1:0", pattern=_ADDRESS)
    """Where Prometheus text and /healthz are served."""
    hosts: str = Field(default="", max_length=4_096)
    """Names with a dot by which browsers may know it, separated by commas; localhost and addresses need none."""
    edge_address: str = Field(default="127.0.0.1:8001", pattern=_ADDRESS)
    """The mesh's public gRPC address, Envoy's; all that is shown is asked there."""

    pulse_s: float = Field(default=2, ge=0.5, le=60)
    """How often open pages are told how the mesh stands."""
    pulse_window_s: float = Field(default=60, ge=10, le=3_600)
    """How far back what they are told looks."""
    watchers_max: int = Field(default=64, ge=1, le=10_000)
    """Open pages that are told."""
    questions_max: int = Field(default=64, ge=1, le=10_000)
    """Questions of pages at a time."""
    question_s_max: float = Field(default=30, gt=0, le=300)
    """For the answer of the mesh to one of them."""
    question_bytes_max: int = Field(default=64 * 1024, ge=1024, le=16 * 1024 * 1024)
    """Body of a question."""
    headers_bytes_max: int = Field(default=16 * 1024, ge=1024, le=1024 * 1024)
    """Request line and headers of one request."""
    headers_timeout_s: float = Field(default=10, gt=0, le=300)
    """How long a browser may take to send the headers of a request."""
    idle_timeout_s: int = Field(default=75, ge=1, le=86_400)
    """A connection without requests is closed after so long."""
    connections_max: int = Field(default=512, ge=1, le=100_000)
    """Connections of browsers at the same time."""
    grace_s: float = Field(default=2, ge=0, le=600)
    """How long requests in flight may take to end when the console stops."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least that is logged."""
    otlp_endpoint: str | None = Field(
        default=None,
        validation_alias=AliasChoices("SERVEMESH_CONSOLE_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    )
    """Collector for traces and metrics, by OTLP over gRPC: http://HOST:4317; none if not given."""
    trace_ratio: float = Field(default=0.01, ge=0, le=1)
    """Share of the requests that are traced."""

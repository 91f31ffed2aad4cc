"""What can be set of a REST front, from the environment: SERVEMESH_GATEWAY_HTTP_*."""

from __future__ import annotations

from typing import Literal

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from servemesh.names import ID_PATTERN

_ADDRESS = r".+:\d{1,5}"
_MEBIBYTE = 1 << 20


class Settings(BaseSettings):
    """One REST front. Sizes in bytes, times in seconds."""

    model_config = SettingsConfigDict(
        env_prefix="SERVEMESH_GATEWAY_HTTP_", frozen=True, populate_by_name=True
    )

    instance: str = Field(default="rest", pattern=f"^{ID_PATTERN}$")
    """Its id, in logs and metrics."""
    address: str = Field(default="127.0.0.1:8000", pattern=_ADDRESS)
    """Where HTTP is served; port 0 takes a free one."""
    metrics_address: str = Field(default="127.0.0.1:0", pattern=_ADDRESS)
    """Where Prometheus text and /healthz are served."""
    edge_address: str = Field(default="127.0.0.1:8001", pattern=_ADDRESS)
    """The mesh's public gRPC address, Envoy's; every request becomes a call to it."""

    message_bytes_max: int = Field(default=64 * _MEBIBYTE, ge=1024, le=1024 * _MEBIBYTE)
    """One body, and one message made from it; the gateway has the same setting."""
    json_bytes_max: int = Field(default=16 * _MEBIBYTE, ge=1024, le=1024 * _MEBIBYTE)
    """The JSON in a body, and the tensors of an answer that is to be JSON; more goes as binary tensor data."""
    bodies_bytes_max: int = Field(default=256 * _MEBIBYTE, ge=1024)
    """Sum over the bodies of all requests in flight."""
    headers_bytes_max: int = Field(default=16 * 1024, ge=1024, le=1024 * 1024)
    """Request line and headers of one request."""
    connections_max: int = Field(default=4_096, ge=1, le=1_000_000)
    """Connections of clients at the same time."""
    calls_max: int = Field(default=1_024, ge=1, le=100_000)
    """Requests in flight; Envoy takes as many calls on one connection by its setting streams_max."""
    headers_timeout_s: float = Field(default=10, gt=0, le=300)
    """How long a client may take to send the headers of a request."""
    body_timeout_s: float = Field(default=30, gt=0, le=3_600)
    """How long it may take to send the body, and to take the answer."""
    idle_timeout_s: int = Field(default=300, ge=1, le=86_400)
    """A connection without requests is closed after so long."""
    deadline_s_default: float = Field(default=30, gt=0, le=3_600)
    """Given to a request that names no timeout."""
    deadline_s_max: float = Field(default=300, gt=0, le=86_400)
    """The longest timeout of a request, and the one of a load or an unload that names none."""
    grace_s: float = Field(default=30, ge=0, le=600)
    """How long requests in flight may take to end when the front stops."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least that is logged."""
    otlp_endpoint: str | None = Field(
        default=None,
        validation_alias=AliasChoices("SERVEMESH_GATEWAY_HTTP_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    )
    """Collector for traces and metrics, by OTLP over gRPC: http://HOST:4317; none if not given."""
    trace_ratio: float = Field(default=0.001, ge=0, le=1)
    """Share of the requests that are traced if they come without a decision."""

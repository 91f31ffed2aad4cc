"""What can be set of a gateway, from the environment: SERVEMESH_GATEWAY_*."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from servemesh.names import ID_PATTERN

_ADDRESS = r".+:\d{1,5}"
_ENDPOINT = r"^$|^https?://([^/:@]+|\[[0-9a-f:]+\])(:\d{1,5})?(/[^?#]*)?$"
_MEBIBYTE = 1 << 20


class Settings(BaseSettings):
    """One gateway and the edge that it steers. Sizes in bytes, times in seconds."""

    model_config = SettingsConfigDict(env_prefix="SERVEMESH_GATEWAY_", frozen=True, populate_by_name=True)

    instance: str = Field(default="gateway", pattern=f"^{ID_PATTERN}$")
    """Unique among the gateways of the mesh."""
    address: str = Field(default="127.0.0.1:0", pattern=_ADDRESS)
    """Where the gateway service listens; port 0 takes a free one."""
    advertise_address: str = Field(default="", pattern=f"^$|{_ADDRESS}")
    """host:port by which Envoy reaches the gateway service; empty is where it listens."""
    peers: Annotated[tuple[str, ...], NoDecode] = ()
    """The other gateway services, as host:port, separated by commas; a name may stand for several."""
    metrics_address: str = Field(default="127.0.0.1:0", pattern=_ADDRESS)
    """Where Prometheus text and /healthz are served."""
    xds_address: str = Field(default="127.0.0.1:0", pattern=_ADDRESS)
    """Where Envoys get their tables."""
    xds_advertise_addresses: Annotated[tuple[str, ...], NoDecode] = ()
    """Every gateway's xds_address as Envoy reaches it, separated by commas; empty is this one's alone."""
    registry_address: str = Field(default="127.0.0.1:9101", pattern=_ADDRESS)
    """Where the registry answers; a name may stand for several."""
    registries: Annotated[tuple[str, ...], NoDecode] = ()
    """Every registry as Envoy reaches it, separated by commas; it sends calls to the first one that serves. Empty is
    `registry_address` alone."""
    optimizer_address: str = Field(default="", pattern=f"^$|{_ADDRESS}")
    """Where the optimizer answers; empty for a mesh without one."""
    metrics_service_address: str = Field(default="", pattern=f"^$|{_ADDRESS}")
    """Where the metrics service answers; empty for a mesh without one."""
    nats_url: str = "nats://127.0.0.1:4222"
    """Where NATS answers; it tells of the others of its cluster."""
    state_dir: Path = Path("gateway-state")
    """Private folder for the last state and Envoy's bootstrap; Envoy must be able to read it."""

    edge_address: str = Field(default="127.0.0.1:8001", pattern=_ADDRESS)
    """What Envoy listens on: the public address of the mesh. Numeric host."""
    envoy_admin_address: str = Field(default="127.0.0.1:9901", pattern=_ADDRESS)
    """Envoy's admin interface. Numeric host; never a public one."""
    envoy_metrics_address: str = Field(default="", pattern=f"^$|{_ADDRESS}")
    """Where Envoy answers /ready and /stats/prometheus of the admin interface, and nothing else of it. Numeric host."""
    envoy_node_id: str = Field(default="edge", min_length=1, max_length=253)
    """The name by which Envoys ask for their tables."""
    envoy_heap_bytes_max: int = Field(default=4096 * _MEBIBYTE, ge=256 * _MEBIBYTE)
    """From 98 % of it on, Envoy refuses new calls."""
    envoy_connections_max: int = Field(default=50_000, ge=1)
    """Connections of clients at the same time, to one Envoy."""
    worker_connections_max: int = Field(default=4_096, ge=1)
    """Connections of one Envoy to all workers."""
    pending_max: int = Field(default=16_384, ge=1)
    """Calls that wait in one Envoy for a connection to a worker."""
    requests_max: int = Field(default=16_384, ge=1)
    """Calls in flight from one Envoy to all workers."""
    idle_timeout_s: float = Field(default=300, gt=0, le=86_400)
    """A client's connection without calls is closed after so long."""
    headers_timeout_s: float = Field(default=10, gt=0, le=300)
    """How long a client may take to send the headers of a call."""
    connect_timeout_s: float = Field(default=0.5, gt=0, le=60)
    """How long Envoy tries to connect to a worker."""
    health_interval_s: float = Field(default=0.5, gt=0, le=60)
    """How often Envoy asks each worker whether it serves."""
    health_timeout_s: float = Field(default=0.4, gt=0, le=60)
    """How long a worker may take to say so."""
    unhealthy_after: int = Field(default=2, ge=1, le=100)
    """A worker gets no calls after so many bad answers in a row."""
    hang_timeout_s: float = Field(default=1, gt=0, le=60)
    """A worker's connection that answers no HTTP/2 ping for so long is cut; its calls go elsewhere."""
    eject_after_failures: int = Field(default=3, ge=1, le=1_000)
    """A worker that fails so many calls in a row gets none for a while."""
    ejection_s: float = Field(default=2, gt=0, le=300)
    """That while, the first time; it grows with each further one, up to `SERVEMESH_GATEWAY_EJECTION_S_MAX`."""
    ejection_s_max: float = Field(default=2, gt=0, le=3_600)
    """The longest such while."""

    message_bytes_max: int = Field(default=64 * _MEBIBYTE, ge=1024, le=1024 * _MEBIBYTE)
    """One message, either way; workers have the same setting."""
    metadata_bytes_max: int = Field(default=16 * 1024, ge=4096, le=96 * 1024)
    """Metadata of one call."""
    metadata_entries_max: int = Field(default=100, ge=10, le=1_000)
    """Entries of it."""
    deadline_s_default: float = Field(default=30, gt=0, le=3600)
    """Given to a unary call that comes without a deadline."""
    deadline_s_max: float = Field(default=300, gt=0, le=86400)
    """The latest deadline of a unary call; a later one is cut to it."""
    calls_max: int = Field(default=8_192, ge=1, le=1_000_000)
    """Calls in flight in the gateway service; those that Envoy sends to workers itself do not count."""
    streams_max: int = Field(default=1024, ge=1, le=100_000)
    """Calls at the same time on one client's connection."""
    retries_max: int = Field(default=4, ge=0, le=10)
    """How often Envoy sends a call again, to another worker."""
    retry_budget_percent: float = Field(default=20, ge=0, le=100)
    """Retries at the same time, as a share of the calls in flight."""
    retry_budget_floor: int = Field(default=1024, ge=0)
    """Retries at the same time that need no budget: all calls in flight on a worker that was killed."""
    pushback_ms: int = Field(default=250, ge=0, le=60_000)
    """When callers are asked to come back after "nobody can answer"."""

    waiting_calls_max: int = Field(default=1_024, ge=1, le=1_000_000)
    """Calls that wait for a model to be loaded."""
    waiting_bytes_max: int = Field(default=512 * _MEBIBYTE, ge=1024)
    """Sum over the messages of those calls."""
    demand_interval_s: float = Field(default=1, gt=0, le=60)
    """How often the load of a model that calls wait for is asked for again."""
    unknown_ttl_s: float = Field(default=1, ge=0, le=60)
    """How long "there is no such model" and "no worker is there" are believed."""
    unknown_max: int = Field(default=1_024, ge=1, le=1_000_000)
    """Names of which one of the two is remembered."""
    ask_timeout_s: float = Field(default=5, gt=0, le=300)
    """For one question to a worker or the registry."""
    load_timeout_s: float = Field(default=300, gt=0, le=86_400)
    """For RepositoryModelLoad and Unload whose caller sets no shorter deadline."""
    channels_max: int = Field(default=1_024, ge=1, le=100_000)
    """Connections that the gateway service keeps to workers."""
    stream_lanes_max: int = Field(default=64, ge=1, le=10_000)
    """Models and Versions that one ModelStreamInfer may name."""
    stream_requests_max: int = Field(default=64, ge=1, le=10_000)
    """Requests to one of them that are unanswered; more are not read yet."""
    stream_answers_max: int = Field(default=64, ge=1, le=10_000)
    """Answers that the client has not taken yet."""
    stream_answer_bytes_max: int = Field(default=512 * 1024, ge=1024)
    """Bytes of them, and of the answers that a worker is asked for together; a single one may be larger."""
    stream_attempts_max: int = Field(default=4, ge=1, le=100)
    """Workers tried for one request of a stream."""

    silence_s: float = Field(default=5, gt=0, le=600)
    """A worker that was not heard for this long on a live bus, and has no lease, is gone."""
    listing_interval_s: float = Field(default=5, gt=0, le=600)
    """How often the registry is asked for workers and traffic if it does not tell of a change."""
    listing_timeout_s: float = Field(default=2, gt=0, le=60)
    """How long it may take to answer."""
    bus_ping_interval_s: float = Field(default=0.5, gt=0, le=60)
    """How often the gateway looks whether NATS is alive."""
    bus_gap_s: float = Field(default=2, gt=0, le=60)
    """NATS is taken to be away when it has not answered for so long; silence then proves nothing."""
    debounce_s: float = Field(default=0.02, ge=0, le=1)
    """Changes this close together reach Envoy as one."""
    statistics_interval_s: float = Field(default=2, gt=0, le=60)
    """How often the workers' statistics are collected."""
    grace_s: float = Field(default=30, ge=0, le=600)
    """How long calls in flight may take to end when the gateway stops."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least that is logged."""
    otlp_endpoint: str | None = Field(
        default=None,
        pattern=_ENDPOINT,
        validation_alias=AliasChoices("SERVEMESH_GATEWAY_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    )
    """Collector for traces and metrics, Envoy's too, by OTLP over gRPC: http://HOST:4317; none if not given."""
    trace_ratio: float = Field(default=0.001, ge=0, le=1)
    """Share of the calls that are traced if they come without a decision."""

    @field_validator("peers", "xds_advertise_addresses", "registries", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )

"""What can be set of a worker, from the environment: SERVEMESH_WORKER_*."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from servemesh.names import ID_PATTERN

_ADDRESS = r".+:\d{1,5}"
_ENDPOINT = r"^$|^https?://([^/:@]+|\[[0-9a-f:]+\])(:\d{1,5})?(/[^?#]*)?$"
_GIB = 1024**3


class Settings(BaseSettings):
    """One worker. Sizes in bytes, times in seconds."""

    model_config = SettingsConfigDict(env_prefix="SERVEMESH_WORKER_", frozen=True, populate_by_name=True)

    instance: str = Field(default="worker", pattern=f"^{ID_PATTERN}$")
    """The worker's id: unique in the mesh, the same after a restart."""
    address: str = Field(default="127.0.0.1:0", pattern=_ADDRESS)
    """Where the gRPC server listens; port 0 takes a free one."""
    advertise_address: str = Field(default="", pattern=f"^$|{_ADDRESS}")
    """host:port by which gateways and Envoy reach it; empty is where it listens."""
    metrics_address: str = Field(default="127.0.0.1:0", pattern=_ADDRESS)
    """Where Prometheus text and /healthz are served."""
    server: Literal["native", "grpcio"] = "native"
    """What speaks HTTP/2."""

    registry_address: str = Field(default="127.0.0.1:9101", pattern=_ADDRESS)
    """Where the registry answers."""
    nats_url: str = "nats://127.0.0.1:4222"
    """Where NATS answers; it tells of the others of its cluster."""
    s3_endpoint: str = Field(default="127.0.0.1:9000", pattern=_ADDRESS)
    """Where the object store answers."""
    s3_access_key: str = ""
    """Access key of the object store."""
    s3_secret_key: SecretStr = SecretStr("")
    """Its secret."""
    s3_bucket: str = "servemesh"
    """Bucket of this mesh alone."""
    s3_secure: bool = False
    """Speak TLS to the object store."""
    s3_connect_timeout_s: float = Field(default=2, gt=0, le=60)
    """For a connection to the object store."""
    s3_read_timeout_s: float = Field(default=15, gt=0, le=300)
    """For the next bytes from it."""
    s3_retries_max: int = Field(default=3, ge=0, le=10)
    """How often a failed request to it is sent again."""
    s3_threads_max: int = Field(default=8, ge=1, le=256)
    """Transfers at a time."""

    cache_dir: Path = Path("worker-cache")
    """Private folder for verified artifacts and the last assignment; kept over restarts."""
    cache_bytes_max: int = Field(default=20 * _GIB, ge=1024 * 1024)
    """Artifacts on disk; the ones not used for longest go first."""
    cache_spare_bytes: int = Field(default=16 * 1024 * 1024, ge=0)
    """Left free on the disk of `cache_dir`."""
    memory_bytes_max: int = Field(default=0, ge=0)
    """Memory for resident Versions; 0 takes `memory_share` of what the machine has."""
    memory_share: float = Field(default=0.5, gt=0, le=1)
    """Share of the machine's memory for resident Versions."""
    memory_factor: float = Field(default=1.25, ge=1, le=10)
    """A Version that was never loaded is taken to need this times the size of its files."""
    loads_max: int = Field(default=4, ge=1, le=64)
    """Versions loaded at the same time; one place is kept for what callers wait for."""
    load_wait_s: float = Field(default=300, gt=0, le=3600)
    """How long a call waits for a load, if its deadline is later."""
    open_timeout_s: float = Field(default=120, gt=0, le=3600)
    """How long onnxruntime may take to open one Version."""
    crashes_max: int = Field(default=3, ge=1, le=100)
    """After so many deaths in a row of opening or running an artifact, it is opened no more."""
    retry_first_s: float = Field(default=0.5, gt=0, le=60)
    """Until a failed load is tried again; doubled each time."""
    retry_longest_s: float = Field(default=60, gt=0, le=3600)
    """The longest such wait."""

    providers: Annotated[tuple[str, ...], NoDecode] = ("CPUExecutionProvider",)
    """onnxruntime execution providers in order of preference, separated by commas."""
    device_memory_bytes_max: int = Field(default=0, ge=0)
    """Memory of a device that one model may take; 0 leaves it to the device."""
    intra_op_threads: int = Field(default=1, ge=0, le=1024)
    """Threads of one run; 0 leaves it to onnxruntime."""
    instances: int = Field(default=1, ge=1, le=64)
    """Runs of one model at the same time."""
    batch_rows_max: int = Field(default=64, ge=1, le=4096)
    """Rows of one run, unless the Deployment says otherwise."""
    linger_s: float = Field(default=0, ge=0, le=1)
    """How long an idle model waits for more rows; 0 lets batches form while the model runs."""
    queue_rows_max: int = Field(default=4096, ge=1, le=1_000_000)
    """Rows that wait in one model's queue; more are refused."""
    queue_bytes_max: int = Field(default=256 * 1024 * 1024, ge=1024)
    """Bytes that wait in it."""
    queue_wait_s_max: float = Field(default=4, ge=0, le=3_600)
    """A call that would probably wait longer in it, and for more than four runs, is refused; 0 lets it wait."""
    inline_s_max: float = Field(default=0.0005, ge=0, le=0.01)
    """Runs known to take no longer are made on the event loop; 0 makes all of them in threads."""
    message_bytes_max: int = Field(default=64 * 1024 * 1024, ge=1024, le=2**31 - 1)
    """One message, either way; gateways have the same setting."""
    metadata_bytes_max: int = Field(default=16 * 1024, ge=4096, le=96 * 1024)
    """Metadata of one call."""
    calls_max: int = Field(default=8_192, ge=1, le=1_000_000)
    """Calls in flight; more are refused."""
    deadline_s_default: float = Field(default=30, gt=0, le=3_600)
    """Given to a unary call that comes without a deadline."""
    deadline_s_max: float = Field(default=300, gt=0, le=86_400)
    """The latest deadline of a unary call; gateways have the same setting."""

    lease_interval_s: float = Field(default=2, gt=0, le=60)
    """How often the worker's lease is renewed, beside after every change."""
    lease_pause_s: float = Field(default=0.05, ge=0, le=10)
    """At least so long between two renewals, however much changes."""
    lease_timeout_s: float = Field(default=2, gt=0, le=60)
    """For one renewal."""
    announce_interval_s: float = Field(default=0.5, gt=0, le=10)
    """How often the worker announces itself to gateways, beside after every change."""
    drain_wait_s: float = Field(default=1, ge=0, le=60)
    """Between the word that it, a slot or an alias leaves and the first refusal: two health checks of Envoy."""
    evict_wait_s: float = Field(default=0.25, ge=0, le=60)
    """How long a slot that makes room for another still answers, so that gateways look away first."""
    drain_timeout_s: float = Field(default=30, gt=0, le=600)
    """For the calls under way of a slot that is unloaded."""
    grace_s: float = Field(default=15, gt=0, le=600)
    """For the calls under way when the worker stops."""

    exit_wait_s: float = Field(default=2, gt=0, le=60)
    """For threads that hang in a driver, once every call has its answer."""

    stop_wait_s: float = Field(default=10, gt=0, le=600)
    """A run that goes on for so long after it was told to stop ends the worker, as a crash of its Version."""
    process_memory_bytes_max: int = Field(default=0, ge=0)
    """Memory of the whole process; 0 takes half as much again as for Versions, and 1 GiB. A Version that keeps more
    than nine tenths of it ends the worker, as a crash of its own."""

    drift_models: str = Field(default="", pattern=r"^$|^[a-z][a-z0-9_-]{0,62}(,[a-z][a-z0-9_-]{0,62})*$")
    """Models whose inputs and outputs are sampled into histograms, so that drift can be seen, separated by commas."""
    drift_share: float = Field(default=0.01, gt=0, le=1)
    """Share of their rows that is sampled, at most one row of a run."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least that is logged."""
    otlp_endpoint: str | None = Field(
        default=None,
        pattern=_ENDPOINT,
        validation_alias=AliasChoices("SERVEMESH_WORKER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    )
    """Collector for traces and metrics, by OTLP over gRPC: http://HOST:4317; none if not given."""
    trace_ratio: float = Field(default=0.001, ge=0, le=1)
    """Share of the calls that are traced if they come without a decision."""

    @field_validator("providers", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

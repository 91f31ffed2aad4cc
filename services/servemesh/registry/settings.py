"""What can be set of a registry, from the environment: SERVEMESH_REGISTRY_*."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from servemesh.names import ID_PATTERN

_ADDRESS = r".+:\d{1,5}"
_ENDPOINT = r"^$|^https?://([^/:@]+|\[[0-9a-f:]+\])(:\d{1,5})?(/[^?#]*)?$"
_MIB = 1024**2
_GIB = 1024**3


class Settings(BaseSettings):
    """One registry. Sizes in bytes, times in seconds."""

    model_config = SettingsConfigDict(env_prefix="SERVEMESH_REGISTRY_", frozen=True, populate_by_name=True)

    instance: str = Field(default="registry", pattern=f"^{ID_PATTERN}$")
    """Its id, in logs and metrics."""
    address: str = Field(default="127.0.0.1:0", pattern=_ADDRESS)
    """Where the gRPC server listens; port 0 takes a free one."""
    metrics_address: str = Field(default="127.0.0.1:0", pattern=_ADDRESS)
    """Where Prometheus text and /healthz are served."""
    grace_s: float = Field(default=10, gt=0, le=600)
    """For the calls under way when the registry stops."""
    calls_max: int = Field(default=1_024, ge=1, le=100_000)
    """Calls in flight; more are refused."""
    message_bytes_max: int = Field(default=64 * _MIB, ge=1_024, le=1_024 * _MIB)
    """One message, either way."""
    metadata_bytes_max: int = Field(default=16 * 1024, ge=4_096, le=96 * 1024)
    """Metadata of one call."""
    deadline_s_default: float = Field(default=30, gt=0, le=3_600)
    """Given to a unary call that comes without a deadline."""
    deadline_s_max: float = Field(default=300, gt=0, le=86_400)
    """The latest deadline of a unary call; a later one is cut to it."""

    data_dir: Path = Path("registry-data")
    """Private folder for staged uploads and, unless `database_url` says otherwise, the database."""
    database_url: SecretStr = SecretStr("")
    """sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/NAME; empty is registry.db in `data_dir`."""
    readers_max: int = Field(default=8, ge=1, le=100)
    """Connections for reading."""
    writers_max: int = Field(default=8, ge=1, le=100)
    """Connections for writing; SQLite has one."""
    busy_timeout_s: float = Field(default=10, gt=0, le=300)
    """How long a call waits for the database."""

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

    lease_s: float = Field(default=10, gt=0, le=3_600)
    """A worker that is silent for so long is taken to be gone."""
    placement_interval_s: float = Field(default=1, gt=0, le=60)
    """How often placement looks by itself, beside after every change."""
    demand_idle_s: float = Field(default=300, gt=0, le=86_400)
    """A Version placed on demand goes when it was not called for so long."""
    failed_workers_max: int = Field(default=3, ge=1, le=1_000)
    """A Version that failed on so many workers is tried on no more."""

    relay_interval_s: float = Field(default=1, gt=0, le=60)
    """How often the relay looks for facts of other registries, for a broker that is back and for its duty, beside after
    every change of its own."""
    relay_batch_max: int = Field(default=100, ge=1, le=10_000)
    """Facts published before they are marked as such."""
    relay_check_interval_s: float = Field(default=60, gt=0, le=3_600)
    """How often the relay looks whether the broker still has what it confirmed."""
    event_retention_s: float = Field(default=600, ge=10, le=86_400)
    """How long confirmed facts are kept, to be published again if the broker loses them."""
    duty_term_s: float = Field(default=10, gt=0, le=300)
    """After so long without a sign of life another registry takes over the relay."""
    request_retention_s: float = Field(default=86_400, ge=60)
    """How long answers are kept for repeated calls."""
    worker_retention_s: float = Field(default=86_400, ge=60)
    """How long a worker that left is remembered."""
    retention_interval_s: float = Field(default=300, gt=0, le=86_400)
    """How often what has served its time is deleted."""
    events_bytes_max: int = Field(default=256 * _MIB, ge=_MIB)
    """Facts kept by NATS; the oldest go first."""
    events_replicas: int = Field(default=1, ge=1, le=5)
    """Copies of them in a NATS cluster."""

    models_max: int = Field(default=10_000, ge=1)
    """Models of the registry."""
    versions_max: int = Field(default=10_000, ge=1)
    """Versions of one Model."""
    aliases_max: int = Field(default=1_000, ge=1)
    """Aliases of one Model."""
    workers_max: int = Field(default=1_000, ge=1)
    """Workers with a lease."""
    slots_max: int = Field(default=1_000, ge=1)
    """Slots of one worker."""
    demands_max: int = Field(default=1_000, ge=1)
    """Versions placed on demand."""
    watchers_max: int = Field(default=256, ge=1)
    """WatchDeployment calls at a time."""
    description_chars_max: int = Field(default=4_096, ge=0, le=1_000_000)
    """Characters of a Model's description."""
    labels_max: int = Field(default=64, ge=0, le=10_000)
    """Labels of one resource."""
    label_chars_max: int = Field(default=256, ge=1, le=100_000)
    """Characters of a label's value."""
    traffic_max: int = Field(default=16, ge=1, le=1_000)
    """Targets that one Deployment shares its calls among."""
    replicas_max: int = Field(default=1_000, ge=1, le=100_000)
    """Replicas of one Deployment."""
    upload_bytes_max: int = Field(default=16 * _GIB, ge=1)
    """Sum over the files of one Upload."""
    upload_files_max: int = Field(default=1_024, ge=1, le=10_000)
    """Files of one Upload."""
    upload_piece_bytes_max: int = Field(default=_MIB, ge=1_024, le=32 * _MIB)
    """Bytes of a file in one message."""
    uploads_open_max: int = Field(default=256, ge=1)
    """Uploads that are not a Version yet."""
    disk_free_bytes_min: int = Field(default=_GIB, ge=0)
    """An Upload that would leave less room than this on the disk of `data_dir` is refused."""
    upload_idle_s: float = Field(default=86_400, ge=1)
    """An Upload that nobody goes on with is deleted after so long."""
    sweep_interval_s: float = Field(default=60, gt=0, le=86_400)
    """How often expired Uploads are looked for."""
    collect_interval_s: float = Field(default=3_600, gt=0, le=30 * 86_400)
    """How often the object store is searched for blobs that nothing needs."""
    collect_grace_s: float = Field(default=86_400, ge=0, le=365 * 86_400)
    """A blob is deleted when nothing has needed it for so long."""
    collect_retry_s: float = Field(default=30, gt=0, le=3_600)
    """When a search that was cut off goes on."""
    collect_term_s: float = Field(default=300, ge=60, le=86_400, validate_default=True)
    """After so long without a sign of life another registry deletes; longer than any one deletion can take."""
    admission_memory_bytes_max: int = Field(default=8 * _GIB, ge=256 * _MIB)
    """Memory of the process that examines an artifact."""
    admission_cpu_s_max: int = Field(default=120, ge=1, le=3_600)
    """Processor time of one examination."""
    admission_timeout_s: float = Field(default=180, gt=0, le=3_600)
    """Wall time of one examination."""
    admission_answer_bytes_max: int = Field(default=4 * _MIB, ge=64 * 1024, le=64 * _MIB)
    """What one examination may say; a longer signature is refused."""
    admission_processes_max: int = Field(default=2, ge=1, le=64)
    """Examinations at a time."""
    admission_waiting_max: int = Field(default=64, ge=1, le=10_000)
    """Examinations under way or waiting; more are refused."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least that is logged."""
    otlp_endpoint: str | None = Field(
        default=None,
        pattern=_ENDPOINT,
        validation_alias=AliasChoices("SERVEMESH_REGISTRY_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    )
    """Collector for traces and metrics, by OTLP over gRPC: http://HOST:4317; none if not given."""
    trace_ratio: float = Field(default=0.01, ge=0, le=1)
    """Share of the calls that are traced if they come without a decision."""

    @field_validator("collect_term_s")
    @classmethod
    def _is_longer_than_a_deletion(cls, value: float, info: ValidationInfo) -> float:
        # A registry that has not shown a sign of life for a third of the term begins no deletion.
        settings = info.data
        attempt_s = settings.get("s3_connect_timeout_s", 0) + settings.get("s3_read_timeout_s", 0)
        deletion_s = attempt_s * (1 + settings.get("s3_retries_max", 0))
        if value * 2 / 3 <= deletion_s:
            raise ValueError(f"must be above {deletion_s * 3 / 2}: one deletion may take {deletion_s} s")
        return value

    @property
    def effective_database_url(self) -> str:
        """The database to use."""
        return self.database_url.get_secret_value() or f"sqlite:///{self.data_dir / 'registry.db'}"

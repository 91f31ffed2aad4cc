"""What can be set of an optimizer, from the environment: SERVEMESH_OPTIMIZER_*."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from servemesh.names import ID_PATTERN

_ADDRESS = r".+:\d{1,5}"
_ENDPOINT = r"^$|^https?://([^/:@]+|\[[0-9a-f:]+\])(:\d{1,5})?(/[^?#]*)?$"
_MIB = 1024**2
_GIB = 1024**3
# What pip, the loader and CUDA go by. Nothing else of the environment reaches a child, so no key of ours does.
_FOR_CHILDREN = re.compile(
    r"PIP_\w+|(https?|no|all)_proxy|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|LD_LIBRARY_PATH|(CUDA|NVIDIA)_\w+",
    re.IGNORECASE,
)


class Settings(BaseSettings):
    """One optimizer. Sizes in bytes, times in seconds."""

    model_config = SettingsConfigDict(env_prefix="SERVEMESH_OPTIMIZER_", frozen=True, populate_by_name=True)

    instance: str = Field(default="optimizer", pattern=f"^{ID_PATTERN}$")
    """Its id, in logs and metrics."""
    address: str = Field(default="127.0.0.1:0", pattern=_ADDRESS)
    """Where the gRPC server listens; port 0 takes a free one."""
    metrics_address: str = Field(default="127.0.0.1:0", pattern=_ADDRESS)
    """Where Prometheus text and /healthz are served."""
    grace_s: float = Field(default=10, gt=0, le=600)
    """For the calls under way when the optimizer stops; jobs under way are given back."""
    calls_max: int = Field(default=1_024, ge=1, le=100_000)
    """Calls in flight; more are refused."""
    message_bytes_max: int = Field(default=64 * _MIB, ge=1_024, le=1_024 * _MIB)
    """One message, either way."""
    metadata_bytes_max: int = Field(default=16 * 1024, ge=4_096, le=96 * 1024)
    """Metadata of one call."""
    deadline_s_default: float = Field(default=60, gt=0, le=3_600)
    """Given to a unary call that comes without a deadline."""
    deadline_s_max: float = Field(default=900, gt=0, le=86_400)
    """The latest deadline of a unary call; a later one is cut to it."""

    data_dir: Path = Path("optimizer-data")
    """Folder for work under way and, unless `database_url` says otherwise, the database."""
    database_url: SecretStr = SecretStr("")
    """sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/NAME; empty is optimizer.db in `data_dir`."""
    readers_max: int = Field(default=8, ge=1, le=100)
    """Connections for reading."""
    writers_max: int = Field(default=8, ge=1, le=100)
    """Connections for writing; SQLite has one."""
    busy_timeout_s: float = Field(default=10, gt=0, le=300)
    """How long a call waits for the database."""

    registry_address: str = Field(default="127.0.0.1:9101", pattern=_ADDRESS)
    """Where the registry answers."""
    registry_timeout_s: float = Field(default=30, gt=0, le=600)
    """For one question to it."""
    transfer_timeout_s: float = Field(default=3_600, gt=0, le=86_400)
    """For one Version on its way to it."""
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
    events_bytes_max: int = Field(default=256 * _MIB, ge=_MIB)
    """Facts kept by NATS; the oldest go first. The registry has the same setting."""
    events_replicas: int = Field(default=1, ge=1, le=5)
    """Copies of them in a NATS cluster."""

    jobs_max: int = Field(default=1, ge=1, le=64)
    """Jobs at a time. What is measured while another job runs is measured slower than it is."""
    children_max: int = Field(default=4, ge=1, le=256)
    """Child processes at a time, of jobs and of the calls that read datasets."""
    lease_s: float = Field(default=10, gt=0, le=3_600)
    """A job whose optimizer is silent for so long is taken by another one."""
    beat_s: float = Field(default=1, gt=0, le=60)
    """How often an optimizer shows that it works on a job; also how soon it sees that the job is cancelled."""
    poll_s: float = Field(default=2, gt=0, le=60)
    """How often it looks for jobs by itself, beside after every message that one waits."""
    losses_max: int = Field(default=4, ge=0, le=100)
    """A job over which more optimizers than that have died is given up."""
    retry_s: float = Field(default=5, gt=0, le=3_600)
    """A job that needs something which is away is tried again after so long."""
    relay_interval_s: float = Field(default=0.5, gt=0, le=60)
    """How often facts are looked for to publish, beside after every change."""

    job_time_s_max: float = Field(default=4 * 3_600, gt=0, le=30 * 86_400)
    """Time that is worked on one job: what it gets if it asks for nothing, and the most it may ask for."""
    job_memory_bytes_max: int = Field(default=8 * _GIB, ge=256 * _MIB)
    """Memory of one child process, likewise."""
    job_threads_max: int = Field(default=2, ge=1, le=1_024)
    """Threads of one child process, likewise."""
    examine_time_s_max: float = Field(default=600, gt=0, le=86_400)
    """Wall clock of reading one Source as a Dataset."""
    child_file_bytes_max: int = Field(default=16 * _GIB, ge=_MIB)
    """One file that a child process writes."""
    child_answer_bytes_max: int = Field(default=16 * _MIB, ge=64 * 1024, le=256 * _MIB)
    """What one child process may answer."""
    environments_dir: Path | None = None
    """Where environments of frameworks are made that cannot share ours; empty is `environments` in `data_dir`."""
    recipes_dir: Path | None = None
    """A folder of further recipes, one YAML file each; they are read when the optimizer starts."""

    jobs_open_max: int = Field(default=1_000, ge=1)
    """Jobs that have not ended; more are refused."""
    log_lines_max: int = Field(default=10_000, ge=1)
    """Lines kept of one job's log."""
    datasets_max: int = Field(default=1_000, ge=1)
    """Datasets of the optimizer."""
    watchers_max: int = Field(default=256, ge=1)
    """WatchJob calls at a time."""
    source_bytes_max: int = Field(default=16 * _GIB, ge=1)
    """Sum over the files of one Source."""
    source_files_max: int = Field(default=4_096, ge=1, le=100_000)
    """Files of one Source."""
    source_piece_bytes_max: int = Field(default=_MIB, ge=1_024, le=32 * _MIB)
    """Bytes of a file in one message."""
    disk_free_bytes_min: int = Field(default=_GIB, ge=0)
    """What would leave less room than this on the disk of `data_dir` is refused."""

    source_retention_s: float = Field(default=7 * 86_400, ge=60)
    """A Source that nothing needs is deleted when it was not used for so long."""
    job_retention_s: float = Field(default=90 * 86_400, ge=60)
    """A job that ended is deleted with its log after so long; the Versions that it registered stay."""
    request_retention_s: float = Field(default=86_400, ge=60)
    """How long answers are kept for repeated calls."""
    sweep_interval_s: float = Field(default=3_600, gt=0, le=30 * 86_400)
    """How often what has served its time is deleted."""
    blob_grace_s: float = Field(default=86_400, ge=60)
    """A blob of nobody is left alone for so long: longer than any upload or step takes."""
    cache_bytes_max: int = Field(default=20 * _GIB, ge=0)
    """Outputs of finished steps that are kept; the longest unused go first."""
    cache_unused_s_max: float = Field(default=7 * 86_400, ge=60)
    """One that was not used for so long is deleted in any case."""
    cache_grace_s: float = Field(default=3_600, ge=0)
    """One used so recently is not deleted for room."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least that is logged."""
    otlp_endpoint: str | None = Field(
        default=None,
        pattern=_ENDPOINT,
        validation_alias=AliasChoices("SERVEMESH_OPTIMIZER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    )
    """Collector for traces and metrics, by OTLP over gRPC: http://HOST:4317; none if not given."""
    trace_ratio: float = Field(default=0.01, ge=0, le=1)
    """Share of the calls that are traced if they come without a decision."""

    @property
    def effective_database_url(self) -> str:
        """The database to use."""
        return self.database_url.get_secret_value() or f"sqlite:///{self.data_dir / 'optimizer.db'}"

    @property
    def effective_environments_dir(self) -> Path:
        """Where environments of frameworks are made."""
        return (self.environments_dir or self.data_dir / "environments").absolute()

    @property
    def child_environment(self) -> dict[str, str]:
        """What child processes see of the environment."""
        return {name: value for name, value in os.environ.items() if _FOR_CHILDREN.fullmatch(name)}

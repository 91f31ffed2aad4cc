"""What can be set of the metrics service, from the environment: SERVEMESH_METRICS_*."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from servemesh.names import ID_PATTERN

_ADDRESS = r".+:\d{1,5}"
_ENDPOINT = r"^$|^https?://([^/:@]+|\[[0-9a-f:]+\])(:\d{1,5})?(/[^?#]*)?$"
_OBJECTIVES = r"^$|^[a-z][a-z0-9_-]{0,62}=\d+(\.\d+)?(,[a-z][a-z0-9_-]{0,62}=\d+(\.\d+)?)*$"
_MIB = 1024**2
_GIB = 1024**3
_DAY_S = 86_400
_LABELS = (
    "service,instance,model,version,method,code,outcome,state,reason,kind,type,worker,tenant,slot,process,host,gpu,"
    "signal,channel,rule,severity,phase,priority,cluster,work,tensor,feature,bin,provider,direction,device"
)


class Settings(BaseSettings):
    """One metrics service. Sizes in bytes, times in seconds."""

    model_config = SettingsConfigDict(env_prefix="SERVEMESH_METRICS_", frozen=True, populate_by_name=True)

    instance: str = Field(default="metrics", pattern=f"^{ID_PATTERN}$")
    """Its id, in logs and metrics."""
    address: str = Field(default="127.0.0.1:0", pattern=_ADDRESS)
    """Where the gRPC server listens, for OTLP and for metrics.v1; port 0 takes a free one."""
    metrics_address: str = Field(default="127.0.0.1:0", pattern=_ADDRESS)
    """Where Prometheus text and /healthz are served."""
    grace_s: float = Field(default=10, gt=0, le=600)
    """For the calls under way when the metrics service stops."""
    calls_max: int = Field(default=1_024, ge=1, le=100_000)
    """Calls in flight; more are refused."""
    message_bytes_max: int = Field(default=16 * _MIB, ge=1_024, le=1_024 * _MIB)
    """One message, either way."""
    metadata_bytes_max: int = Field(default=16 * 1024, ge=4_096, le=96 * 1024)
    """Metadata of one call."""
    deadline_s_default: float = Field(default=30, gt=0, le=3_600)
    """Given to a unary call that comes without a deadline."""
    deadline_s_max: float = Field(default=300, gt=0, le=86_400)
    """The latest deadline of a unary call; a later one is cut to it."""

    data_dir: Path = Path("metrics-data")
    """Private folder for what was measured."""
    store_memory_bytes_max: int = Field(default=512 * _MIB, ge=64 * _MIB)
    """Memory of the store, beside what waits for it."""
    store_threads_max: int = Field(default=2, ge=1, le=256)
    """Processors that the store may use at a time."""
    readers_max: int = Field(default=4, ge=1, le=64)
    """Queries at a time."""
    reads_waiting_max: int = Field(default=64, ge=0, le=10_000)
    """Queries that may wait for their turn."""
    query_values_max: int = Field(default=1_000_000, ge=1_000, le=100_000_000)
    """Values of one answer: tracks times steps."""

    ingest_bytes_max: int = Field(default=32 * _MIB, ge=_MIB)
    """Encoded points that may wait to be stored; when more come, their senders are told to wait."""
    flush_s: float = Field(default=2, gt=0, le=5)
    """How often what came is stored: a kill loses no more than what came since and what is under way."""
    future_s_max: float = Field(default=60, ge=0, le=3_600)
    """A point from further in the future is refused."""
    late_s_max: float = Field(default=6 * 3_600, ge=60, le=30 * _DAY_S)
    """A point that is older is refused."""
    streams_max: int = Field(default=100_000, ge=1_000)
    """Streams of points that are remembered, so that growth is counted once; points of more are refused."""
    stream_idle_s: float = Field(default=3_600, ge=60)
    """A stream that is silent for so long is forgotten."""
    series_max: int = Field(default=50_000, ge=100)
    """Series; the points of more are put together under the label value `other`."""
    metric_series_max: int = Field(default=5_000, ge=10)
    """Series of one metric, likewise."""
    metrics_max: int = Field(default=2_000, ge=10)
    """Metrics by name; points of more are refused."""
    labels_kept: str = _LABELS
    """Attributes that become labels, separated by commas; others are dropped and counted."""
    label_chars_max: int = Field(default=128, ge=16, le=1_024)
    """Characters of a label's value; the rest is cut off."""
    histogram_scale_max: int = Field(default=4, ge=-4, le=8)
    """Distributions are kept no finer than with 2^scale buckets to each power of two: 4 is within 2.2 %."""
    spans_waiting_max: int = Field(default=20_000, ge=100)
    """Spans that may wait to be stored; more are dropped."""
    spans_max: int = Field(default=200_000, ge=1_000)
    """Spans that are kept; the oldest go first."""
    spans_s: float = Field(default=_DAY_S, ge=60)
    """How long spans are kept."""

    raw_s: float = Field(default=2 * 3_600, ge=2 * 3_600)
    """How long points are kept as they came."""
    minute_s: float = Field(default=30 * _DAY_S, ge=_DAY_S)
    """How long roll-ups of a minute are kept."""
    hour_s: float = Field(default=400 * _DAY_S, ge=_DAY_S)
    """How long roll-ups of an hour, and annotations, are kept."""
    store_bytes_max: int = Field(default=8 * _GIB, ge=64 * _MIB)
    """Disk that the store may use; the oldest of the finest goes first."""
    roll_up_s: float = Field(default=15, gt=0, le=60)
    """How often it is looked whether a minute or an hour is complete."""
    retain_s: float = Field(default=300, gt=0, le=3_600)
    """How often what has served its time is deleted."""

    price_cpu_hour: float | None = Field(default=None, ge=0)
    """What an hour of one processor costs, in any currency; without it costs are not told."""
    price_gpu_hour: float | None = Field(default=None, ge=0)
    """What an hour of one GPU costs, in the same."""
    latency_objective_s: float = Field(default=0.25, gt=0, le=3_600)
    """How long 95 of 100 calls may take: what capacity is measured at."""
    latency_objectives: str = Field(default="", pattern=_OBJECTIVES)
    """The same for single Models, as MODEL=SECONDS separated by commas."""
    busy_share_max: float = Field(default=0.7, gt=0, le=1)
    """Share of a worker's time that is planned with where the objective was never missed."""
    forecast_s_max: float = Field(default=30, gt=0, le=600)
    """Time for the work of one forecast, in a process of its own."""
    forecasts_kept_max: int = Field(default=256, ge=1, le=100_000)
    """Forecasts that are kept until the next step begins."""

    nats_url: str = "nats://127.0.0.1:4222"
    """Where NATS answers; it tells of the others of its cluster."""
    events_bytes_max: int = Field(default=256 * _MIB, ge=_MIB)
    """Facts kept by NATS; the oldest go first."""
    events_replicas: int = Field(default=1, ge=1, le=5)
    """Copies of them in a NATS cluster."""
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
    s3_threads_max: int = Field(default=4, ge=1, le=256)
    """Transfers at a time."""
    parquet_export: bool = False
    """Copy every complete hour of roll-ups to the object store as parquet, where it is never deleted."""

    rules_dir: Path | None = None
    """Folder with alert rules of your own, as YAML; one takes the place of a shipped one of its name."""
    rules_interval_s: float = Field(default=30, gt=0, le=600)
    """How often the rules are looked at."""
    rules_lag_s: float = Field(default=10, ge=0, le=300)
    """So far back they look, because points are still on their way."""
    alerts_open_max: int = Field(default=5_000, ge=1, le=100_000)
    """Alerts that are pending or firing; the conditions of more are counted and ignored."""
    alert_retention_s: float = Field(default=30 * _DAY_S, ge=60)
    """How long resolved alerts are kept."""
    alert_wait_s: float = Field(default=10, ge=0, le=3_600)
    """How long a group gathers alerts before it is told of."""
    alert_interval_s: float = Field(default=60, gt=0, le=86_400)
    """Time between two deliveries of a group."""
    alert_repeat_s: float = Field(default=4 * 3_600, ge=60)
    """A group that still fires is told of again after so long."""
    silences_max: int = Field(default=1_000, ge=1, le=100_000)
    """Silences that have not ended."""
    watchers_max: int = Field(default=256, ge=1, le=10_000)
    """WatchAlerts calls at a time."""
    webhook_url: SecretStr = SecretStr("")
    """Where alerts are posted to; empty posts none."""
    webhook_secret: SecretStr = SecretStr("")
    """What the posts are signed with, plain or as whsec_ and base64; empty signs none."""
    webhook_timeout_s: float = Field(default=10, gt=0, le=300)
    """For one post."""
    deliveries_max: int = Field(default=10_000, ge=10)
    """Deliveries that wait to be taken; the oldest go first."""
    delivery_retry_s_max: float = Field(default=300, ge=1, le=86_400)
    """The longest wait between two attempts; waits begin at a second, double, and are random."""
    delivery_age_s_max: float = Field(default=_DAY_S, ge=60)
    """A delivery that nobody took for so long is given up."""

    reports_scheduled: bool = True
    """Write daily and weekly reports."""
    reports_waiting_max: int = Field(default=16, ge=1, le=1_000)
    """CreateReport calls at a time."""
    report_retention_s: float = Field(default=400 * _DAY_S, ge=_DAY_S)
    """How long reports are kept."""
    report_pdf_s_max: float = Field(default=60, ge=0, le=600)
    """For Chromium, if one is on the PATH, to make the PDF of a report; 0 makes none."""

    forward_endpoint: str = Field(
        default="",
        pattern=_ENDPOINT,
        validation_alias=AliasChoices("SERVEMESH_METRICS_FORWARD_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    )
    """Collector to which all that comes over OTLP is sent on, as http://HOST:4317; empty sends nothing on."""
    forward_headers: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=AliasChoices("SERVEMESH_METRICS_FORWARD_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"),
    )
    """What is said to it with every call, as KEY=VALUE separated by commas."""
    forward_bytes_max: int = Field(default=16 * _MIB, ge=_MIB)
    """What may wait to be sent on; more is dropped."""

    otlp_endpoint: str | None = Field(
        default=None,
        pattern=_ENDPOINT,
        validation_alias=AliasChoices("SERVEMESH_METRICS_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    )
    """Where its own traces and metrics go, by OTLP over gRPC: http://HOST:4317, which may be itself."""
    trace_ratio: float = Field(default=0.01, ge=0, le=1)
    """Share of calls traced whose caller did not decide."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least urgent messages that are logged."""

    @property
    def labels(self) -> frozenset[str]:
        """The attributes that become labels."""
        return frozenset(label.strip() for label in self.labels_kept.split(",") if label.strip())

"""Every bound of a metrics service, as its settings say."""

from __future__ import annotations

from urllib.parse import unquote

from servemesh.blobs import minio_store
from servemesh.metrics.adapters.duck_store import StoreSettings
from servemesh.metrics.adapters.otlp_forward import ForwardSettings
from servemesh.metrics.adapters.webhook_sender import WebhookSettings
from servemesh.metrics.domain.alerting.grouping import Pace
from servemesh.metrics.domain.alerting.outbox import RetryRules
from servemesh.metrics.domain.cardinality import SeriesLimits
from servemesh.metrics.domain.figures import Prices
from servemesh.metrics.domain.retention import Retention
from servemesh.metrics.domain.temporality import Bounds
from servemesh.metrics.service.alerting import AlertSettings
from servemesh.metrics.service.capacity import Objectives
from servemesh.metrics.service.delivering import DeliverySettings
from servemesh.metrics.service.housekeeping import HousekeepingSettings
from servemesh.metrics.service.ingesting import IngestSettings
from servemesh.metrics.service.reports import ReportSettings
from servemesh.metrics.service.tracing import SpanSettings
from servemesh.metrics.settings import Settings
from servemesh.rpc import limits as rpc_limits
from servemesh.sql import engines as sql_engines


def call_limits(settings: Settings) -> rpc_limits.Limits:
    """Of the calls that it takes."""
    return rpc_limits.Limits(
        message_bytes_max=settings.message_bytes_max,
        metadata_bytes_max=settings.metadata_bytes_max,
        calls_max=settings.calls_max,
        deadline_s_default=settings.deadline_s_default,
        deadline_s_max=settings.deadline_s_max,
        takes_gzip=True,
    )


def store_settings(settings: Settings) -> StoreSettings:
    """What the store may take."""
    return StoreSettings(
        memory_bytes_max=settings.store_memory_bytes_max,
        threads_max=settings.store_threads_max,
        readers_max=settings.readers_max,
        reads_waiting_max=settings.reads_waiting_max,
        values_max=settings.query_values_max,
    )


def series_limits(settings: Settings) -> SeriesLimits:
    """How many series there may be, and which labels they may carry."""
    return SeriesLimits(
        series_max=settings.series_max,
        metric_series_max=settings.metric_series_max,
        metrics_max=settings.metrics_max,
        label_chars_max=settings.label_chars_max,
        labels_kept=settings.labels,
    )


def time_bounds(settings: Settings) -> Bounds:
    """Which times of points are believed."""
    return Bounds(
        future_ms=round(settings.future_s_max * 1000),
        ancient_ms=round(settings.late_s_max * 1000),
    )


def ingest_settings(settings: Settings) -> IngestSettings:
    """How much may wait to be stored."""
    return IngestSettings(
        bytes_max=settings.ingest_bytes_max,
        flush_s=settings.flush_s,
        stream_idle_s=settings.stream_idle_s,
    )


def span_settings(settings: Settings) -> SpanSettings:
    """How many spans are kept."""
    return SpanSettings(
        waiting_max=settings.spans_waiting_max,
        flush_s=settings.flush_s,
        kept_max=settings.spans_max,
        kept_s=settings.spans_s,
        labels_kept=settings.labels,
    )


def housekeeping_settings(settings: Settings) -> HousekeepingSettings:
    """What is kept how long."""
    return HousekeepingSettings(
        roll_up_s=settings.roll_up_s,
        retain_s=settings.retain_s,
        retention=Retention(
            raw_s=settings.raw_s,
            minute_s=settings.minute_s,
            hour_s=settings.hour_s,
            size_bytes_max=settings.store_bytes_max,
        ),
    )


def forward_settings(settings: Settings) -> ForwardSettings:
    """Where to what comes is sent on."""
    said = settings.forward_headers.get_secret_value().split(",")
    pairs = (pair.partition("=") for pair in said if "=" in pair)
    return ForwardSettings(
        endpoint=settings.forward_endpoint,
        headers={key.strip(): unquote(value.strip()) for key, _, value in pairs},
        bytes_max=settings.forward_bytes_max,
    )


def state_settings(settings: Settings) -> sql_engines.StoreSettings:
    """Where alerts and reports are kept."""
    return sql_engines.StoreSettings(url=f"sqlite:///{settings.data_dir.absolute() / 'state.db'}")


def alert_settings(settings: Settings) -> AlertSettings:
    """How often rules are looked at, and how alerts are told of."""
    return AlertSettings(
        interval_s=settings.rules_interval_s,
        gap_s=max(60.0, 6 * settings.rules_interval_s),
        lag_s=settings.rules_lag_s,
        open_max=settings.alerts_open_max,
        outbox_max=settings.deliveries_max,
        retention_s=settings.alert_retention_s,
        pace=Pace(
            wait_s=settings.alert_wait_s,
            interval_s=settings.alert_interval_s,
            repeat_s=settings.alert_repeat_s,
        ),
    )


def delivery_settings(settings: Settings) -> DeliverySettings:
    """How deliveries are tried again."""
    return DeliverySettings(
        retry=RetryRules(longest_s=settings.delivery_retry_s_max, age_s_max=settings.delivery_age_s_max)
    )


def webhook_settings(settings: Settings) -> WebhookSettings:
    """Where alerts are posted to."""
    return WebhookSettings(
        url=settings.webhook_url.get_secret_value(),
        secret=settings.webhook_secret.get_secret_value(),
        timeout_s=settings.webhook_timeout_s,
    )


def report_settings(settings: Settings) -> ReportSettings:
    """How reports are written and kept."""
    return ReportSettings(
        waiting_max=settings.reports_waiting_max,
        retention_s=settings.report_retention_s,
        scheduled=settings.reports_scheduled,
    )


def prices(settings: Settings) -> Prices:
    """What machines cost."""
    return Prices(cpu_hour=settings.price_cpu_hour, gpu_hour=settings.price_gpu_hour)


def objectives(settings: Settings) -> Objectives:
    """What capacity is measured at."""
    single = (pair.partition("=") for pair in settings.latency_objectives.split(",") if pair)
    return Objectives(
        latency_s=settings.latency_objective_s,
        latency_s_of={model: float(latency_s) for model, _, latency_s in single},
        busy_max=settings.busy_share_max,
    )


def blob_settings(settings: Settings) -> minio_store.StoreSettings:
    """Where the object store is, and the bounds of talking to it."""
    return minio_store.StoreSettings(
        endpoint=settings.s3_endpoint,
        access_key=settings.s3_access_key,
        secret_key=settings.s3_secret_key.get_secret_value(),
        bucket=settings.s3_bucket,
        secure=settings.s3_secure,
        connect_timeout_s=settings.s3_connect_timeout_s,
        read_timeout_s=settings.s3_read_timeout_s,
        retries_max=settings.s3_retries_max,
        threads_max=settings.s3_threads_max,
    )

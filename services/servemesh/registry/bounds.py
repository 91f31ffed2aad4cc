"""Every bound of a registry, as its settings say."""

from __future__ import annotations

from datetime import timedelta

from servemesh.blobs import minio_store
from servemesh.registry.adapters.admission_process import AdmissionLimits
from servemesh.registry.domain.limits import Limits
from servemesh.registry.domain.uploads import UploadLimits
from servemesh.registry.service.collecting import CollectingSettings
from servemesh.registry.service.leases import LeaseSettings
from servemesh.registry.service.placing import PlacingSettings
from servemesh.registry.service.relay import RelaySettings
from servemesh.registry.service.retention import RetentionSettings
from servemesh.registry.settings import Settings
from servemesh.rpc import limits as rpc_limits
from servemesh.sql import engines as sql_engines


def limits(settings: Settings) -> Limits:
    """Of what the registry keeps."""
    return Limits(
        models_max=settings.models_max,
        versions_max=settings.versions_max,
        aliases_max=settings.aliases_max,
        workers_max=settings.workers_max,
        demands_max=settings.demands_max,
        watchers_max=settings.watchers_max,
        slots_max=settings.slots_max,
        description_chars_max=settings.description_chars_max,
        labels_max=settings.labels_max,
        label_chars_max=settings.label_chars_max,
        traffic_max=settings.traffic_max,
        replicas_max=settings.replicas_max,
    )


def call_limits(settings: Settings) -> rpc_limits.Limits:
    """Of the calls that it takes."""
    return rpc_limits.Limits(
        message_bytes_max=settings.message_bytes_max,
        metadata_bytes_max=settings.metadata_bytes_max,
        calls_max=settings.calls_max,
        deadline_s_default=settings.deadline_s_default,
        deadline_s_max=settings.deadline_s_max,
    )


def lease_settings(settings: Settings) -> LeaseSettings:
    """How long a silent worker is believed in."""
    return LeaseSettings(lease_s=settings.lease_s)


def placing_settings(settings: Settings) -> PlacingSettings:
    """How eagerly Versions are placed."""
    return PlacingSettings(
        interval_s=settings.placement_interval_s,
        demand_idle_s=settings.demand_idle_s,
        failed_workers_max=settings.failed_workers_max,
    )


def relay_settings(settings: Settings) -> RelaySettings:
    """How events get to the bus, and how long they can be published again."""
    return RelaySettings(
        interval_s=settings.relay_interval_s,
        batch_max=settings.relay_batch_max,
        retention_s=settings.event_retention_s,
        check_interval_s=settings.relay_check_interval_s,
    )


def collecting_settings(settings: Settings) -> CollectingSettings:
    """When blobs that nothing needs are deleted."""
    return CollectingSettings(
        interval_s=settings.collect_interval_s,
        grace_s=settings.collect_grace_s,
        retry_s=settings.collect_retry_s,
    )


def retention_settings(settings: Settings) -> RetentionSettings:
    """How long things are remembered."""
    return RetentionSettings(
        interval_s=settings.retention_interval_s,
        request_s=settings.request_retention_s,
        worker_s=settings.worker_retention_s,
    )


def upload_limits(settings: Settings) -> UploadLimits:
    """Of what may be uploaded."""
    return UploadLimits(
        bytes_max=settings.upload_bytes_max,
        files_max=settings.upload_files_max,
        open_max=settings.uploads_open_max,
        piece_bytes_max=settings.upload_piece_bytes_max,
        disk_free_bytes_min=settings.disk_free_bytes_min,
        idle_max=timedelta(seconds=settings.upload_idle_s),
    )


def admission_limits(settings: Settings) -> AdmissionLimits:
    """Of examining it."""
    return AdmissionLimits(
        memory_bytes_max=settings.admission_memory_bytes_max,
        cpu_s_max=settings.admission_cpu_s_max,
        timeout_s=settings.admission_timeout_s,
        answer_bytes_max=settings.admission_answer_bytes_max,
        processes_max=settings.admission_processes_max,
        waiting_max=settings.admission_waiting_max,
    )


def database_settings(settings: Settings) -> sql_engines.StoreSettings:
    """Where the database is, and the bounds of talking to it."""
    return sql_engines.StoreSettings(
        url=settings.effective_database_url,
        readers_max=settings.readers_max,
        writers_max=settings.writers_max,
        busy_timeout_s=settings.busy_timeout_s,
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

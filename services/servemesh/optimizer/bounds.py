"""Every bound of an optimizer, as its settings say."""

from __future__ import annotations

from datetime import timedelta

from servemesh.blobs import minio_store
from servemesh.optimizer.adapters.blob_folders import FolderSettings
from servemesh.optimizer.adapters.child_process import ChildSettings
from servemesh.optimizer.adapters.registry_client import RegistrySettings
from servemesh.optimizer.domain.asking import Bounds
from servemesh.optimizer.domain.jobs import LeaseRules
from servemesh.optimizer.domain.specs import JobLimits
from servemesh.optimizer.domain.uploading import UploadLimits
from servemesh.optimizer.domain.work import WorkLimits
from servemesh.optimizer.service.holding import HoldSettings
from servemesh.optimizer.service.pass_cache import PassCacheSettings
from servemesh.optimizer.service.sweeping import SweepSettings
from servemesh.optimizer.service.working import WorkSettings
from servemesh.optimizer.settings import Settings
from servemesh.rpc import limits as rpc_limits
from servemesh.sql import engines as sql_engines


def bounds(settings: Settings) -> Bounds:
    """Of what may be asked for."""
    return Bounds(
        job=JobLimits(
            time_s=settings.job_time_s_max,
            memory_bytes=settings.job_memory_bytes_max,
            threads=settings.job_threads_max,
        ),
        jobs_open_max=settings.jobs_open_max,
        datasets_max=settings.datasets_max,
        watchers_max=settings.watchers_max,
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


def work_settings(settings: Settings) -> WorkSettings:
    """How jobs are taken and held."""
    return WorkSettings(
        jobs_max=settings.jobs_max,
        poll_s=settings.poll_s,
        hold=HoldSettings(
            rules=LeaseRules(lease=timedelta(seconds=settings.lease_s), losses_max=settings.losses_max),
            beat_s=settings.beat_s,
            log_lines_max=settings.log_lines_max,
            retry_s=settings.retry_s,
        ),
    )


def child_settings(settings: Settings) -> ChildSettings:
    """Of child processes."""
    return ChildSettings(
        processes_max=settings.children_max,
        file_bytes_max=settings.child_file_bytes_max,
        disk_free_bytes_min=settings.disk_free_bytes_min,
        answer_bytes_max=settings.child_answer_bytes_max,
        environment=settings.child_environment,
    )


def examine_limits(settings: Settings) -> WorkLimits:
    """Of reading a Source as a Dataset."""
    return WorkLimits(
        time_s=settings.examine_time_s_max,
        memory_bytes=settings.job_memory_bytes_max,
        threads=settings.job_threads_max,
    )


def upload_limits(settings: Settings) -> UploadLimits:
    """Of what may be uploaded."""
    return UploadLimits(
        bytes_max=settings.source_bytes_max,
        files_max=settings.source_files_max,
        piece_bytes_max=settings.source_piece_bytes_max,
        disk_free_bytes_min=settings.disk_free_bytes_min,
    )


def folder_settings(settings: Settings) -> FolderSettings:
    """Of bringing files to disk."""
    return FolderSettings(disk_free_bytes_min=settings.disk_free_bytes_min)


def cache_settings(settings: Settings) -> PassCacheSettings:
    """Of keeping the outputs of steps."""
    return PassCacheSettings(
        bytes_max=settings.cache_bytes_max,
        unused_s_max=settings.cache_unused_s_max,
        grace_s=settings.cache_grace_s,
        sweep_interval_s=settings.sweep_interval_s,
    )


def sweep_settings(settings: Settings) -> SweepSettings:
    """How long things are kept."""
    return SweepSettings(
        interval_s=settings.sweep_interval_s,
        source_s=settings.source_retention_s,
        request_s=settings.request_retention_s,
        job_s=settings.job_retention_s,
        blob_grace_s=settings.blob_grace_s,
    )


def registry_settings(settings: Settings) -> RegistrySettings:
    """Where the registry is, and the bounds of talking to it."""
    return RegistrySettings(
        addresses=(settings.registry_address,),
        call_s_max=settings.registry_timeout_s,
        transfer_s_max=settings.transfer_timeout_s,
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

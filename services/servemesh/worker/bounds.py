"""Every bound of a worker, as its settings say."""

from __future__ import annotations

from servemesh.blobs.minio_store import StoreSettings
from servemesh.rpc.limits import Limits
from servemesh.runtime.sessions import RuntimeOptions
from servemesh.worker.adapters import machine
from servemesh.worker.adapters.disk_cache import CacheSettings
from servemesh.worker.domain.batching import BatchPolicy
from servemesh.worker.service.drift_samples import Sampling
from servemesh.worker.service.loading import LoadLimits
from servemesh.worker.service.reconciler import ReconcilePolicy
from servemesh.worker.service.watchdog import WatchLimits
from servemesh.worker.settings import Settings


def batch_policy(settings: Settings) -> BatchPolicy:
    """How calls become runs, unless a Deployment says otherwise."""
    return BatchPolicy(
        rows_max=settings.batch_rows_max,
        linger_s=settings.linger_s,
        queue_rows_max=settings.queue_rows_max,
        queue_bytes_max=settings.queue_bytes_max,
        queue_wait_s_max=settings.queue_wait_s_max,
        executions=settings.instances,
        inline_s_max=settings.inline_s_max,
    )


def memory_bytes_max(settings: Settings) -> int:
    """Memory for resident Versions."""
    return settings.memory_bytes_max or int(settings.memory_share * machine.memory_bytes())


def process_memory_bytes_max(settings: Settings) -> int:
    """Memory of the whole process; 0 for no bound: drivers of devices reserve what they never use."""
    if settings.providers != ("CPUExecutionProvider",):
        return settings.process_memory_bytes_max
    return settings.process_memory_bytes_max or int(1.5 * memory_bytes_max(settings)) + (1 << 30)


def watch_limits(settings: Settings) -> WatchLimits:
    """What a model may do before the worker ends for it."""
    return WatchLimits(stop_wait_s=settings.stop_wait_s, memory_bytes_max=process_memory_bytes_max(settings))


def end_wait_s(settings: Settings) -> float:
    """The longest that a worker takes to end when a model holds it."""
    return settings.drain_wait_s + settings.grace_s + settings.exit_wait_s


def runtime_options(settings: Settings) -> RuntimeOptions:
    """With what models are run."""
    return RuntimeOptions(
        providers=settings.providers,
        threads=settings.intra_op_threads,
        device_memory_bytes_max=settings.device_memory_bytes_max,
    )


def load_limits(settings: Settings) -> LoadLimits:
    """Of opening one Version."""
    return LoadLimits(
        memory_bytes_max=memory_bytes_max(settings),
        open_timeout_s=settings.open_timeout_s,
        crashes_max=settings.crashes_max,
    )


def reconcile_policy(settings: Settings) -> ReconcilePolicy:
    """How Versions are loaded, tried again and unloaded."""
    return ReconcilePolicy(
        memory_bytes_max=memory_bytes_max(settings),
        loads_max=settings.loads_max,
        retry_first_s=settings.retry_first_s,
        retry_longest_s=settings.retry_longest_s,
        drain_wait_s=settings.drain_wait_s,
        evict_wait_s=settings.evict_wait_s,
        drain_timeout_s=settings.drain_timeout_s,
    )


def call_limits(settings: Settings) -> Limits:
    """Of the calls that it takes."""
    return Limits(
        message_bytes_max=settings.message_bytes_max,
        metadata_bytes_max=settings.metadata_bytes_max,
        calls_max=settings.calls_max,
        deadline_s_default=settings.deadline_s_default,
        deadline_s_max=settings.deadline_s_max,
        drain_wait_s=settings.drain_wait_s,
    )


def cache_settings(settings: Settings) -> CacheSettings:
    """Where artifacts are kept on disk, and how many."""
    return CacheSettings(
        folder=settings.cache_dir,
        size_bytes_max=settings.cache_bytes_max,
        spare_bytes=settings.cache_spare_bytes,
    )


def blob_settings(settings: Settings) -> StoreSettings:
    """Where the object store is, and the bounds of talking to it."""
    return StoreSettings(
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


def sampling(settings: Settings) -> Sampling | None:
    """Of which models rows are sampled; None of none."""
    if not settings.drift_models:
        return None
    return Sampling(models=frozenset(settings.drift_models.split(",")), share=settings.drift_share)

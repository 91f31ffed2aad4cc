"""Builds and runs a registry: `python -m servemesh.registry.main`."""

from __future__ import annotations

import asyncio
import logging
import random
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import uvloop
from pydantic import ValidationError

from servemesh.blobs import minio_store
from servemesh.blobs.minio_store import MinioStore
from servemesh.blobs.ports import BlobStore
from servemesh.errors import ServemeshError, UnavailableError
from servemesh.events.nats_bus import NatsBus
from servemesh.events.ports import Bus
from servemesh.events.settings import BusSettings
from servemesh.lifecycle import Stop, background, until_signalled
from servemesh.observe import names, setup
from servemesh.registry.adapters import data_lock, sql_engines
from servemesh.registry.adapters.admission_process import AdmissionLimits, AdmissionProcess
from servemesh.registry.adapters.sql_store import SqlStore
from servemesh.registry.adapters.staging_files import StagingFiles
from servemesh.registry.adapters.system_clock import SystemClock
from servemesh.registry.api.fleet import FleetApi
from servemesh.registry.api.registry import RegistryApi
from servemesh.registry.domain.limits import Limits
from servemesh.registry.domain.uploads import UploadLimits
from servemesh.registry.service.aliases import AliasBook
from servemesh.registry.service.bucket import Bucket
from servemesh.registry.service.catalog import Catalog
from servemesh.registry.service.changes import Changes
from servemesh.registry.service.collecting import CollectingSettings, Collector
from servemesh.registry.service.commits import Commits
from servemesh.registry.service.demands import Demands
from servemesh.registry.service.deployments import DeploymentBook
from servemesh.registry.service.downloads import Downloads
from servemesh.registry.service.duties import SoleDuty
from servemesh.registry.service.leases import Leases, LeaseSettings
from servemesh.registry.service.placing import Placing, PlacingSettings
from servemesh.registry.service.publishing import Publishing
from servemesh.registry.service.relay import Relay, RelaySettings
from servemesh.registry.service.retention import Retention, RetentionSettings
from servemesh.registry.service.sweeping import Sweeper
from servemesh.registry.service.uploads import Occupied, Uploads
from servemesh.registry.settings import Settings
from servemesh.rpc import limits as rpc_limits
from servemesh.rpc.health import Health
from servemesh.rpc.server import serving

EXIT_REFUSED = 1
EXIT_USAGE = 64
STORE_RETRY_S = 2.0
SERVICES = ("", "servemesh.api.registry.v1.RegistryService", "servemesh.api.fleet.v1.FleetService")

_log = logging.getLogger(__name__)


async def run(settings: Settings, stop: Stop = until_signalled) -> None:
    """Serve until `stop` returns. NATS and S3 may be away; a database that is away is waited for."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        observation = await enter(
            setup(
                "registry",
                instance=settings.instance,
                metrics_address=settings.metrics_address,
                otlp_endpoint=settings.otlp_endpoint,
                sample_ratio=settings.trace_ratio,
                log_level=settings.log_level,
            )
        )
        bus = await enter(NatsBus.running(BusSettings(url=settings.nats_url, client_name=settings.instance)))
        blobs = await enter(MinioStore.running(_blob_settings(settings)))
        address = await enter(serving_registry(settings, bus, blobs))
        _log.info(names.READY, extra={"address": address, "metrics_address": observation.metrics_address})
        await stop()
        _log.info(names.DRAINING)


@asynccontextmanager
async def serving_registry(settings: Settings, bus: Bus, blobs: BlobStore) -> AsyncIterator[str]:
    """Serve for the length of the block on whatever bus and blob store are given; yield "host:port"."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        stack.enter_context(data_lock.locked(settings.data_dir))
        store = await enter(_opened_store(settings))
        staging = await enter(StagingFiles.opened(settings.data_dir / "staging"))
        clock, changes, limits = SystemClock(), Changes(), _limits(settings)
        placing = Placing(store, clock, changes, bus, limits, _placing_settings(settings))
        leases = Leases(store, clock, changes, placing, limits, LeaseSettings(lease_s=settings.lease_s))
        publishing = Publishing(store, clock, changes, limits)
        occupied = Occupied()
        examiner = AdmissionProcess(_admission_limits(settings))
        registry_api = RegistryApi(
            Catalog(store, clock, changes, limits),
            AliasBook(store, clock, changes, limits),
            DeploymentBook(store, clock, changes, limits),
            Uploads(publishing, staging, occupied, clock, _upload_limits(settings)),
            Commits(publishing, staging, occupied, examiner, blobs, clock),
            Downloads(publishing, blobs),
        )
        fleet_api = FleetApi(leases, Demands(store, clock, placing, limits))
        sweeper = Sweeper(publishing, staging, occupied, clock, interval_s=settings.sweep_interval_s)
        await enter(
            background(
                Bucket(blobs, random.Random()).run,
                placing.run,
                leases.run,
                _relay(settings, store, clock, changes, bus).run,
                Retention(store, clock, RetentionSettings(request_s=settings.request_retention_s)).run,
                sweeper.run,
                _collector(settings, store, blobs, clock).run,
            )
        )
        health = Health()
        address = await enter(
            serving(
                settings.address,
                [registry_api.register, fleet_api.register],
                health=health,
                limits=rpc_limits.Limits(calls_max=settings.calls_max),
                grace_s=settings.grace_s,
            )
        )
        for service in SERVICES:
            health.set(service, True)
        yield address


@asynccontextmanager
async def _opened_store(settings: Settings) -> AsyncIterator[SqlStore]:
    """Wait until the database can be opened."""
    store_settings = sql_engines.StoreSettings(
        url=settings.effective_database_url,
        readers_max=settings.readers_max,
        writers_max=settings.writers_max,
        busy_timeout_s=settings.busy_timeout_s,
    )
    async with AsyncExitStack() as stack:
        while True:
            try:
                store = await stack.enter_async_context(SqlStore.opened(store_settings))
                break
            except UnavailableError as error:
                _log.warning(names.STORE_WAITING, extra={"reason": error.reason})
                await asyncio.sleep(STORE_RETRY_S)
        yield store


def _relay(settings: Settings, store: SqlStore, clock: SystemClock, changes: Changes, bus: Bus) -> Relay:
    relay_settings = RelaySettings(
        interval_s=settings.relay_interval_s,
        batch_max=settings.relay_batch_max,
        retention_s=settings.event_retention_s,
        check_interval_s=settings.relay_check_interval_s,
    )
    duty = _duty(settings, store, clock, "relay", settings.duty_term_s)
    return Relay(store, clock, changes, bus, duty, relay_settings)


def _collector(settings: Settings, store: SqlStore, blobs: BlobStore, clock: SystemClock) -> Collector:
    collecting = CollectingSettings(
        interval_s=settings.collect_interval_s,
        grace_s=settings.collect_grace_s,
        retry_s=settings.collect_retry_s,
    )
    duty = _duty(settings, store, clock, "collector", settings.collect_term_s)
    return Collector(store, blobs, clock, duty, collecting)


def _duty(settings: Settings, store: SqlStore, clock: SystemClock, name: str, term_s: float) -> SoleDuty:
    # Nobody else can have an embedded database open, so there is nobody to wait for.
    takeover_s = 0.0 if sql_engines.is_sqlite(settings.effective_database_url) else term_s
    holder = f"{settings.instance}/{uuid.uuid4()}"
    return SoleDuty(store, clock, name, holder, term_s=term_s, takeover_s=takeover_s)


def _limits(settings: Settings) -> Limits:
    return Limits(
        models_max=settings.models_max,
        versions_max=settings.versions_max,
        aliases_max=settings.aliases_max,
        workers_max=settings.workers_max,
        demands_max=settings.demands_max,
        watchers_max=settings.watchers_max,
    )


def _placing_settings(settings: Settings) -> PlacingSettings:
    return PlacingSettings(
        interval_s=settings.placement_interval_s,
        demand_idle_s=settings.demand_idle_s,
        failed_workers_max=settings.failed_workers_max,
    )


def _upload_limits(settings: Settings) -> UploadLimits:
    return UploadLimits(
        bytes_max=settings.upload_bytes_max,
        files_max=settings.upload_files_max,
        open_max=settings.uploads_open_max,
        piece_bytes_max=settings.upload_piece_bytes_max,
        disk_free_bytes_min=settings.disk_free_bytes_min,
        idle_max=timedelta(seconds=settings.upload_idle_s),
    )


def _admission_limits(settings: Settings) -> AdmissionLimits:
    return AdmissionLimits(
        memory_bytes_max=settings.admission_memory_bytes_max,
        cpu_s_max=settings.admission_cpu_s_max,
        timeout_s=settings.admission_timeout_s,
        answer_bytes_max=settings.admission_answer_bytes_max,
        processes_max=settings.admission_processes_max,
        waiting_max=settings.admission_waiting_max,
    )


def _blob_settings(settings: Settings) -> minio_store.StoreSettings:
    return minio_store.StoreSettings(
        endpoint=settings.s3_endpoint,
        access_key=settings.s3_access_key,
        secret_key=settings.s3_secret_key.get_secret_value(),
        bucket=settings.s3_bucket,
        secure=settings.s3_secure,
    )


def main() -> None:
    """Run with what the environment says; exit 64 if that is wrong, 1 if the registry cannot start."""
    try:
        settings = Settings()
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        sys.stderr.write(f"SERVEMESH_REGISTRY_{field.upper()}: {first['msg']}\n")
        sys.exit(EXIT_USAGE)
    try:
        uvloop.run(run(settings))
    except ServemeshError as error:
        sys.stderr.write(f"{error.message}\n")
        sys.exit(EXIT_REFUSED)


if __name__ == "__main__":
    main()

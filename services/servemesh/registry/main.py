"""Builds and runs a registry: `python -m servemesh.registry.main`."""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from servemesh import lifecycle
from servemesh.blobs.minio_store import MinioStore
from servemesh.blobs.ports import BlobStore
from servemesh.changes import Changes
from servemesh.errors import UnavailableError
from servemesh.events.nats_bus import NatsBus
from servemesh.events.ports import Bus
from servemesh.events.settings import BusSettings, StreamSettings
from servemesh.lifecycle import Ready, Stop, SystemClock, background, ignored, until_signalled
from servemesh.observe import names
from servemesh.observe.setup import setup
from servemesh.registry import bounds
from servemesh.registry.adapters import data_lock
from servemesh.registry.adapters.admission_process import AdmissionProcess
from servemesh.registry.adapters.sql_store import SqlStore
from servemesh.registry.adapters.staging_files import StagingFiles
from servemesh.registry.api.fleet import FleetApi
from servemesh.registry.api.registry import RegistryApi
from servemesh.registry.service.aliases import AliasBook
from servemesh.registry.service.bucket import Bucket
from servemesh.registry.service.catalog import Catalog
from servemesh.registry.service.collecting import Collector
from servemesh.registry.service.commits import Commits
from servemesh.registry.service.demands import Demands
from servemesh.registry.service.deployments import DeploymentBook
from servemesh.registry.service.downloads import Downloads
from servemesh.registry.service.duties import SoleDuty
from servemesh.registry.service.leases import Leases
from servemesh.registry.service.placing import Placing
from servemesh.registry.service.publishing import Publishing
from servemesh.registry.service.relay import Relay
from servemesh.registry.service.retention import Retention
from servemesh.registry.service.sweeping import Sweeper
from servemesh.registry.service.uploads import Occupied, Uploads
from servemesh.registry.settings import Settings
from servemesh.rpc.health import Health
from servemesh.rpc.server import serving
from servemesh.sql import engines as sql_engines

STORE_RETRY_S = 2.0
SERVICES = ("", "servemesh.api.registry.v1.RegistryService", "servemesh.api.fleet.v1.FleetService")

_log = logging.getLogger(__name__)


async def run(settings: Settings, stop: Stop = until_signalled) -> None:
    """Serve until `stop` returns, observed and connected to bus and blob store; both may be away."""
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
        stream = StreamSettings(size_bytes_max=settings.events_bytes_max, replicas=settings.events_replicas)
        bus_settings = BusSettings(url=settings.nats_url, client_name=settings.instance, stream=stream)
        bus = await enter(NatsBus.running(bus_settings))
        blobs = await enter(MinioStore.running(bounds.blob_settings(settings)))
        await serve(settings, bus, blobs, observation.metrics_address, stop)


async def serve(
    settings: Settings,
    bus: Bus,
    blobs: BlobStore,
    metrics_address: str,
    stop: Stop,
    *,
    ready: Ready = ignored,
) -> None:
    """Serve until `stop` returns, once there is a database. The stack unwinds upwards: refuse, finish, close.

    `ready` is told the address once it serves.
    """
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        stack.enter_context(data_lock.locked(settings.data_dir))
        store = await enter(_opened_store(settings))
        staging = await enter(StagingFiles.opened(settings.data_dir / "staging"))
        clock, changes, limits = SystemClock(), Changes(), bounds.limits(settings)
        placing = Placing(store, clock, changes, bus, limits, bounds.placing_settings(settings))
        leases = Leases(store, clock, changes, placing, limits, bounds.lease_settings(settings))
        publishing = Publishing(store, clock, changes, limits)
        occupied = Occupied()
        examiner = AdmissionProcess(bounds.admission_limits(settings))
        registry_api = RegistryApi(
            Catalog(store, clock, changes, limits),
            AliasBook(store, clock, changes, limits),
            DeploymentBook(store, clock, changes, limits),
            Uploads(publishing, staging, occupied, clock, bounds.upload_limits(settings)),
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
                Retention(store, clock, bounds.retention_settings(settings)).run,
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
                limits=bounds.call_limits(settings),
                grace_s=settings.grace_s,
            )
        )
        for service in SERVICES:
            health.set(service, True)
        _log.info(names.READY, extra={"address": address, "metrics_address": metrics_address})
        ready(address)
        await stop()
        _log.info(names.DRAINING)


@asynccontextmanager
async def _opened_store(settings: Settings) -> AsyncIterator[SqlStore]:
    """Wait until the database can be opened."""
    async with AsyncExitStack() as stack:
        while True:
            try:
                store = await stack.enter_async_context(SqlStore.opened(bounds.database_settings(settings)))
                break
            except UnavailableError as error:
                _log.warning(names.STORE_WAITING, extra={"reason": error.reason})
                await asyncio.sleep(STORE_RETRY_S)
        yield store


def _relay(settings: Settings, store: SqlStore, clock: SystemClock, changes: Changes, bus: Bus) -> Relay:
    duty = _duty(settings, store, clock, "relay", settings.duty_term_s)
    return Relay(store, clock, changes, bus, duty, bounds.relay_settings(settings))


def _collector(settings: Settings, store: SqlStore, blobs: BlobStore, clock: SystemClock) -> Collector:
    duty = _duty(settings, store, clock, "collector", settings.collect_term_s)
    return Collector(store, blobs, clock, duty, bounds.collecting_settings(settings))


def _duty(settings: Settings, store: SqlStore, clock: SystemClock, name: str, term_s: float) -> SoleDuty:
    # Nobody else can have an embedded database open, so there is nobody to wait for.
    takeover_s = 0.0 if sql_engines.is_sqlite(settings.effective_database_url) else term_s
    holder = f"{settings.instance}/{uuid.uuid4()}"
    return SoleDuty(store, clock, name, holder, term_s=term_s, takeover_s=takeover_s)


if __name__ == "__main__":
    lifecycle.run(Settings, run)

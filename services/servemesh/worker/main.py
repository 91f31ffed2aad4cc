"""Builds and runs a worker: `python -m servemesh.worker.main`."""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Protocol

from servemesh import lifecycle
from servemesh.blobs.minio_store import MinioStore
from servemesh.events.nats_bus import NatsBus
from servemesh.events.ports import Announcer as AnnouncerPort
from servemesh.events.ports import Listener
from servemesh.events.settings import BusSettings
from servemesh.lifecycle import Ready, Stop, background, ignored, until_signalled
from servemesh.observe import metrics, names
from servemesh.observe.setup import setup
from servemesh.rpc.health import Health
from servemesh.rpc.server import Backend, serving
from servemesh.runtime import text_locale
from servemesh.worker import bounds
from servemesh.worker.adapters import machine
from servemesh.worker.adapters.assignment_file import AssignmentFile
from servemesh.worker.adapters.crash_file import CrashFile, faults_reported
from servemesh.worker.adapters.disk_cache import BlobReader, DiskCache
from servemesh.worker.adapters.fleet_lease import FleetLease
from servemesh.worker.adapters.onnx_session import OnnxSession
from servemesh.worker.api.express import METHOD, ExpressInfer
from servemesh.worker.api.oip import OipApi
from servemesh.worker.api.worker import WorkerApi
from servemesh.worker.service.announcer import Announcer
from servemesh.worker.service.catalog import Catalog
from servemesh.worker.service.ending import Condemnation, end_within, until_ended
from servemesh.worker.service.gauges import SlotGauges
from servemesh.worker.service.guard import Guard
from servemesh.worker.service.identity import Identity
from servemesh.worker.service.inference import Inference
from servemesh.worker.service.leasing import LeaseKeeper
from servemesh.worker.service.loading import Loader
from servemesh.worker.service.readiness import Readiness
from servemesh.worker.service.reconciler import Reconciler
from servemesh.worker.service.residency import Residency, SlotStatus
from servemesh.worker.service.runs import Runs
from servemesh.worker.service.slot_series import SlotSeries
from servemesh.worker.service.watchdog import Watchdog, WatchLimits
from servemesh.worker.settings import Settings

SERVICES = ("", "inference.GRPCInferenceService", "servemesh.api.worker.v1.WorkerService")

_log = logging.getLogger(__name__)


class WorkerBus(AnnouncerPort, Listener, Protocol):
    """What a worker asks of the event bus: it announces itself and hears when it is called."""


async def run(settings: Settings, stop: Stop = until_signalled) -> None:
    """Serve until `stop` returns, observed and connected to bus and blob store; both may be away."""
    text_locale.lend(settings.cache_dir / "locale")
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        observation = await enter(
            setup(
                "worker",
                instance=settings.instance,
                metrics_address=settings.metrics_address,
                otlp_endpoint=settings.otlp_endpoint,
                sample_ratio=settings.trace_ratio,
                log_level=settings.log_level,
                host_folder=settings.cache_dir,
            )
        )
        bus = await enter(NatsBus.running(BusSettings(url=settings.nats_url, client_name=settings.instance)))
        blobs = await enter(MinioStore.running(bounds.blob_settings(settings)))
        stack.enter_context(faults_reported(settings.cache_dir))
        limits = bounds.watch_limits(settings)
        if limits.memory_bytes_max:
            machine.limit_process_memory(limits.memory_bytes_max)
        await serve(
            settings,
            bus,
            blobs,
            observation.metrics_address,
            stop,
            served=lambda: end_within(settings.exit_wait_s),
            limits=limits,
        )


async def serve(
    settings: Settings,
    bus: WorkerBus,
    blobs: BlobReader,
    metrics_address: str,
    stop: Stop,
    *,
    ready: Ready = ignored,
    served: Callable[[], None] = lambda: None,
    limits: WatchLimits | None = None,
) -> None:
    """Serve until `stop` returns. The stack unwinds upwards: refuse, finish, say goodbye, close.

    `ready` is told the address once it serves; `served` is called when the last call has its answer.
    `limits` are the watchdog's, which bounds no memory without them: others may share the process.
    """
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        fleet = await enter(FleetLease.running(settings.registry_address, timeout_s=settings.lease_timeout_s))
        cache = await enter(DiskCache.running(bounds.cache_settings(settings), blobs))
        health = Health()
        residency = _residency(settings, health)
        identity = _identity(settings, residency, metrics_address)
        stack.enter_context(metrics.collecting(SlotSeries(lambda: residency.shown)))
        guard = stack.enter_context(Guard.running())
        journal, runs = CrashFile(settings.cache_dir), Runs()
        condemnation = Condemnation(residency, end_wait_s=bounds.end_wait_s(settings))
        watchdog = Watchdog(
            runs,
            journal,
            limits or WatchLimits(stop_wait_s=settings.stop_wait_s),
            end=condemnation.speak,
            memory_bytes=machine.process_memory_bytes,
        )
        stack.enter_context(watchdog.running())
        reconciler = _reconciler(settings, residency, _loader(settings, cache, journal, runs, guard))
        announcer = Announcer(bus, identity, residency.changes, interval_s=settings.announce_interval_s)
        keeper = LeaseKeeper(
            fleet,
            bus,
            AssignmentFile(settings.cache_dir / "assignment"),
            residency,
            identity,
            interval_s=settings.lease_interval_s,
            pause_s=settings.lease_pause_s,
            chances=random.Random(),
        )
        await keeper.recall()
        await enter(background(reconciler.run))
        stack.push_async_callback(condemnation.unless_spoken, keeper.end)
        stack.push_async_callback(announcer.announce, leaving=True)
        await enter(background(announcer.run, keeper.run))
        stack.callback(served)
        address = await enter(_serving(settings, residency, health))
        identity.bind(settings.advertise_address or address)
        await keeper.settled.wait()
        for service in SERVICES:
            health.set(service, True)
        _log.info(names.READY, extra={"address": address, "metrics_address": metrics_address})
        ready(address)
        await until_ended(stop, keeper.superseded.wait, condemnation.spoken.wait)
        _log.info(names.DRAINING)
        if not condemnation.spoken.is_set():
            identity.is_draining = True
            residency.changes.notify()
            journal.forget()


def _serving(settings: Settings, residency: Residency, health: Health) -> AbstractAsyncContextManager[str]:
    catalog = Catalog(residency)
    inference = Inference(residency)
    apis: list[OipApi | WorkerApi] = [OipApi(inference, catalog, health), WorkerApi(inference, catalog)]
    return serving(
        settings.address,
        [api.register for api in apis],
        health=health,
        limits=bounds.call_limits(settings),
        grace_s=settings.grace_s,
        backend=Backend(settings.server),
        express={METHOD: ExpressInfer(residency)},
    )


def _identity(settings: Settings, residency: Residency, metrics_address: str) -> Identity:
    return Identity(
        settings.instance,
        str(uuid.uuid4()),
        slots=residency.slots,
        metrics_address=metrics_address,
        memory_bytes_max=bounds.memory_bytes_max(settings),
        providers=settings.providers,
    )


def _residency(settings: Settings, health: Health) -> Residency:
    readiness, gauges = Readiness(health), SlotGauges(bounds.memory_bytes_max(settings))

    def told(slots: Sequence[SlotStatus]) -> None:
        readiness.show(slots)
        gauges.show(slots)

    return Residency(
        policy=bounds.batch_policy(settings),
        memory_factor=settings.memory_factor,
        load_wait_s=settings.load_wait_s,
        name_wait_s=settings.drain_wait_s,
        clock_s=time.monotonic,
        told=told,
    )


def _loader(settings: Settings, cache: DiskCache, journal: CrashFile, runs: Runs, guard: Guard) -> Loader:
    options = bounds.runtime_options(settings)
    return Loader(
        cache,
        lambda path: OnnxSession.open(path, options),
        journal,
        limits=bounds.load_limits(settings),
        policy=bounds.batch_policy(settings),
        runs=runs,
        guard=guard,
        sampling=bounds.sampling(settings),
    )


def _reconciler(settings: Settings, residency: Residency, loader: Loader) -> Reconciler:
    policy = bounds.reconcile_policy(settings)
    return Reconciler(residency, loader, policy, clock_s=time.monotonic, chances=random.Random())


if __name__ == "__main__":
    lifecycle.run(Settings, run)

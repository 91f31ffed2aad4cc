"""Builds and runs an optimizer: `python -m servemesh.optimizer.main`."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

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
from servemesh.optimizer import bounds
from servemesh.optimizer.adapters.blob_folders import BlobFolders
from servemesh.optimizer.adapters.child_process import ChildProcesses
from servemesh.optimizer.adapters.library_versions import library_versions
from servemesh.optimizer.adapters.recipe_files import load_recipes
from servemesh.optimizer.adapters.registry_client import RegistryClient
from servemesh.optimizer.adapters.scratch_folders import ScratchFolders
from servemesh.optimizer.adapters.sql_store import SqlStore
from servemesh.optimizer.adapters.work_folders import work_folder
from servemesh.optimizer.api.optimizer import OptimizerApi
from servemesh.optimizer.domain.jobs import Kind
from servemesh.optimizer.domain.passes.catalogue import PASSES
from servemesh.optimizer.domain.recipes import Recipe
from servemesh.optimizer.service.converting import ConversionTools, Converting
from servemesh.optimizer.service.datasets import DatasetBook
from servemesh.optimizer.service.evaluating import Evaluating
from servemesh.optimizer.service.facts import FactRelay, WakeUps
from servemesh.optimizer.service.fetching import StoredDatasets, StoredSources
from servemesh.optimizer.service.jobs import JobBook
from servemesh.optimizer.service.optimizing import Optimizing, Tools
from servemesh.optimizer.service.orders import Orders
from servemesh.optimizer.service.pass_cache import KeptPasses
from servemesh.optimizer.service.ports import JobRunner
from servemesh.optimizer.service.sources import SourceBook
from servemesh.optimizer.service.sweeping import Sweeper
from servemesh.optimizer.service.working import Workbench
from servemesh.optimizer.settings import Settings
from servemesh.rpc.health import Health
from servemesh.rpc.server import serving

STORE_RETRY_S = 2.0
SERVICES = ("", "servemesh.api.optimizer.v1.OptimizerService")

_log = logging.getLogger(__name__)


async def run(settings: Settings, stop: Stop = until_signalled) -> None:
    """Serve until `stop` returns, observed and connected to bus and blob store; both may be away."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        observation = await enter(
            setup(
                "optimizer",
                instance=settings.instance,
                metrics_address=settings.metrics_address,
                otlp_endpoint=settings.otlp_endpoint,
                sample_ratio=settings.trace_ratio,
                log_level=settings.log_level,
                host_folder=settings.data_dir,
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
    runners: Mapping[Kind, JobRunner] | None = None,
    ready: Ready = ignored,
) -> None:
    """Serve until `stop` returns, once there is a database. The stack unwinds upwards: refuse, give back, close.

    `ready` is told the address once it serves. Tests may give their own `runners`.
    """
    recipes = load_recipes(settings.recipes_dir, PASSES)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        parts = await _opened(settings, blobs, stack)
        changes, clock = Changes(), SystemClock()
        jobs = JobBook(parts.store, clock, changes, bounds.bounds(settings))
        workbench = Workbench(
            parts.store,
            clock,
            changes,
            runners or _runners(settings, parts, recipes),
            parts.scratch,
            f"{settings.instance}/{uuid.uuid4()}",
            bounds.work_settings(settings),
        )
        await enter(
            background(
                workbench.run,
                FactRelay(parts.store, changes, bus, interval_s=settings.relay_interval_s).run,
                WakeUps(bus, changes).run,
                Sweeper(parts.store, blobs, clock, bounds.sweep_settings(settings)).run,
                parts.cache.run,
            )
        )
        api = OptimizerApi(
            SourceBook(parts.store, blobs, parts.scratch, clock, bounds.upload_limits(settings)),
            _datasets(settings, parts, blobs),
            Orders(jobs, parts.versions, PASSES, recipes, bounds.bounds(settings)),
            jobs,
            PASSES,
            recipes,
        )
        health = Health()
        address = await enter(
            serving(
                settings.address,
                [api.register],
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What jobs and calls work with."""

    store: SqlStore
    scratch: ScratchFolders
    children: ChildProcesses
    versions: RegistryClient
    cache: KeptPasses
    sources: StoredSources
    datasets: StoredDatasets


async def _opened(settings: Settings, blobs: BlobStore, stack: AsyncExitStack) -> _Parts:
    enter, clock = stack.enter_async_context, SystemClock()
    data_dir = settings.data_dir.absolute()
    work = await enter(work_folder(data_dir / "work"))
    store = await enter(_opened_store(settings))
    folder_settings = bounds.folder_settings(settings)
    folders = BlobFolders(blobs, folder_settings)
    return _Parts(
        store=store,
        scratch=ScratchFolders(work),
        children=await enter(ChildProcesses.running(bounds.child_settings(settings))),
        versions=await enter(
            RegistryClient.running(bounds.registry_settings(settings), blobs, folder_settings)
        ),
        cache=KeptPasses(store, blobs, clock, bounds.cache_settings(settings)),
        sources=StoredSources(store, folders, clock),
        datasets=StoredDatasets(store, folders),
    )


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


def _datasets(settings: Settings, parts: _Parts, blobs: BlobStore) -> DatasetBook:
    return DatasetBook(
        parts.store,
        blobs,
        parts.scratch,
        parts.sources,
        parts.children,
        SystemClock(),
        bounds.bounds(settings),
        bounds.examine_limits(settings),
    )


def _runners(settings: Settings, parts: _Parts, recipes: Mapping[str, Recipe]) -> Mapping[Kind, JobRunner]:
    tools = Tools(
        versions=parts.versions,
        datasets=parts.datasets,
        children=parts.children,
        cache=parts.cache,
        passes=PASSES,
        recipes=recipes,
        libraries=library_versions,
        monotonic=SystemClock().monotonic_s,
    )
    conversion_tools = ConversionTools(
        versions=parts.versions,
        sources=parts.sources,
        datasets=parts.datasets,
        children=parts.children,
        cache=parts.cache,
        libraries=library_versions,
        environments=settings.effective_environments_dir,
    )
    return {
        Kind.CONVERSION: Converting(conversion_tools),
        Kind.OPTIMIZATION: Optimizing(tools),
        Kind.EVALUATION: Evaluating(tools),
    }


if __name__ == "__main__":
    lifecycle.run(Settings, run)

"""Builds and runs a gateway: `python -m servemesh.gateway.main`."""

from __future__ import annotations

import logging
import random
import time
from contextlib import AsyncExitStack
from importlib import metadata

from servemesh import lifecycle
from servemesh.events.nats_bus import NatsBus
from servemesh.events.settings import BusSettings
from servemesh.gateway import bounds
from servemesh.gateway.adapters.address_book import AddressBook, GatewayWatch
from servemesh.gateway.adapters.fleet_feed import BusFeed, ListeningBus, RegistryListing
from servemesh.gateway.adapters.registry_calls import RegistryCalls
from servemesh.gateway.adapters.snapshot_file import StateFolder
from servemesh.gateway.adapters.worker_calls import WorkerCalls
from servemesh.gateway.adapters.xds_bootstrap import Start, bootstrap_json
from servemesh.gateway.adapters.xds_server import XdsServer
from servemesh.gateway.api.oip import OipApi
from servemesh.gateway.domain.membership import Membership, restored
from servemesh.gateway.domain.snapshot.values import Neighbours, collector_at, parse_address
from servemesh.gateway.domain.traffic import Traffic
from servemesh.gateway.service.activator import Activator
from servemesh.gateway.service.dispatch import Dispatch
from servemesh.gateway.service.edge import Edge
from servemesh.gateway.service.fleet_view import LiveFleet
from servemesh.gateway.service.fleet_watch import FleetWatch
from servemesh.gateway.service.mesh import Mesh
from servemesh.gateway.service.publication import Publication
from servemesh.gateway.service.statistics import MeshStatistics
from servemesh.gateway.service.streams import Streams
from servemesh.gateway.settings import Settings
from servemesh.lifecycle import Ready, Stop, background, ignored, until_signalled
from servemesh.observe import names
from servemesh.observe.setup import setup
from servemesh.rpc.health import Health
from servemesh.rpc.server import serving

SERVICES = ("", "inference.GRPCInferenceService")
XDS_GRACE_S = 0.2  # an Envoy whose stream ends goes on with what it has

_log = logging.getLogger(__name__)


async def run(settings: Settings, stop: Stop = until_signalled) -> None:
    """Serve until `stop` returns, observed and connected to the bus, which may be away."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        observation = await enter(
            setup(
                "gateway",
                instance=settings.instance,
                metrics_address=settings.metrics_address,
                otlp_endpoint=settings.otlp_endpoint,
                sample_ratio=settings.trace_ratio,
                log_level=settings.log_level,
            )
        )
        bus = await enter(NatsBus.running(BusSettings(url=settings.nats_url, client_name=settings.instance)))
        await serve(settings, bus, observation.metrics_address, stop)


async def serve(
    settings: Settings, bus: ListeningBus, metrics_address: str, stop: Stop, *, ready: Ready = ignored
) -> None:
    """Serve until `stop` returns. The stack unwinds upwards: refuse, finish, close.

    `ready` is told the address once it serves.
    """
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        listing = await enter(RegistryListing(settings.registry_address))
        catalog = await enter(RegistryCalls(settings.registry_address))
        workers = await enter(WorkerCalls(settings.channels_max))
        folder = StateFolder(settings.state_dir)
        membership, traffic = _recalled(folder)
        live, publication, health = LiveFleet(membership.fleet), Publication(), Health()
        statistics = MeshStatistics(
            live, workers, interval_s=settings.statistics_interval_s, timeout_s=settings.ask_timeout_s
        )
        api = _oip(settings, live, workers, catalog, statistics)
        limits = bounds.call_limits(settings)
        address = await enter(
            serving(settings.address, [api.register], health=health, limits=limits, grace_s=settings.grace_s)
        )
        xds = XdsServer(publication, debounce_s=settings.debounce_s)
        xds_health = Health()
        xds_address = await enter(
            serving(
                settings.xds_address, [xds.register], health=xds_health, limits=limits, grace_s=XDS_GRACE_S
            )
        )
        book = AddressBook((settings.advertise_address or address, *settings.peers))
        neighbours = await _neighbours(settings, book)
        edge = Edge(
            live,
            publication,
            folder,
            neighbours=neighbours,
            policy=bounds.edge_policy(settings),
            clock=time.monotonic,
        )
        edge.become(membership, traffic)
        watch = _watch(settings, bus, listing, membership, traffic, edge)
        folder.write_bootstrap(bootstrap_json(_start(settings, folder, xds_address)))
        await enter(
            background(
                watch.hear,
                watch.probe,
                watch.ask,
                watch.listen,
                edge.publish,
                edge.keep,
                statistics.run,
                GatewayWatch(book, neighbours, edge.meet).run,
            )
        )
        for service in SERVICES:
            health.set(service, True)
        xds_health.set("", True)
        _log.info(
            names.READY,
            extra={"address": address, "metrics_address": metrics_address, "xds_address": xds_address},
        )
        ready(address)
        await stop()
        _log.info(names.DRAINING)


def _oip(
    settings: Settings,
    live: LiveFleet,
    workers: WorkerCalls,
    catalog: RegistryCalls,
    statistics: MeshStatistics,
) -> OipApi:
    activator = Activator(live, workers, catalog, bounds.activation_limits(settings))
    chance = random.Random()
    return OipApi(
        metadata.version("servemesh"),
        Mesh(live, activator, workers, catalog, bounds.mesh_limits(settings)),
        Dispatch(activator, workers, chance),
        statistics,
        Streams(activator, workers, bounds.stream_limits(settings), chance),
    )


def _recalled(folder: StateFolder) -> tuple[Membership, Traffic]:
    kept = folder.recall()
    if kept is None:
        return Membership(), Traffic()
    workers, traffic = kept
    return restored(workers, now=time.monotonic()), traffic


def _watch(
    settings: Settings,
    bus: ListeningBus,
    listing: RegistryListing,
    membership: Membership,
    traffic: Traffic,
    edge: Edge,
) -> FleetWatch:
    return FleetWatch(
        BusFeed(bus),
        listing,
        membership=membership,
        traffic=traffic,
        limits=bounds.watch_limits(settings),
        clock=time.monotonic,
        changed=edge.become,
    )


async def _neighbours(settings: Settings, book: AddressBook) -> Neighbours:
    registries = settings.registries or (settings.registry_address,)
    return Neighbours(
        edge=parse_address(settings.edge_address),
        gateways=await book.look_up(),
        registries=tuple(parse_address(registry) for registry in registries),
        optimizers=(parse_address(settings.optimizer_address),) if settings.optimizer_address else (),
        metrics_services=tuple(parse_address(each) for each in (settings.metrics_service_address,) if each),
        trace_collector=collector_at(settings.otlp_endpoint) if settings.otlp_endpoint else None,
    )


def _start(settings: Settings, folder: StateFolder, xds_address: str) -> Start:
    gateways = settings.xds_advertise_addresses or (xds_address,)
    return Start(
        node_id=settings.envoy_node_id,
        admin=parse_address(settings.envoy_admin_address),
        gateways=[parse_address(gateway) for gateway in gateways],
        metrics=parse_address(settings.envoy_metrics_address) if settings.envoy_metrics_address else None,
        last_known_path=folder.tables_path,
        heap_bytes_max=settings.envoy_heap_bytes_max,
        connections_max=settings.envoy_connections_max,
        collector=collector_at(settings.otlp_endpoint) if settings.otlp_endpoint else None,
    )


if __name__ == "__main__":
    lifecycle.run(Settings, run)

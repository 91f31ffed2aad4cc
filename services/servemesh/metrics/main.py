"""Builds and runs a metrics service: `python -m servemesh.metrics.main`."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
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
from servemesh.metrics import bounds
from servemesh.metrics.adapters.alert_events import AlertEvents
from servemesh.metrics.adapters.duck_store import DuckStore
from servemesh.metrics.adapters.event_notes import EventFacts
from servemesh.metrics.adapters.forecaster import ChildForecaster
from servemesh.metrics.adapters.otlp_forward import OtlpForward
from servemesh.metrics.adapters.prometheus_page import PrometheusPage, ShownStore
from servemesh.metrics.adapters.report_renderer import ChromiumRenderer
from servemesh.metrics.adapters.rule_files import load_rules
from servemesh.metrics.adapters.sql_store import SqlStore
from servemesh.metrics.adapters.webhook_sender import WebhookSender
from servemesh.metrics.api.alerts import AlertsApi
from servemesh.metrics.api.analysis import AnalysisApi
from servemesh.metrics.api.metrics import MetricsApi
from servemesh.metrics.api.otlp import OtlpApi
from servemesh.metrics.api.queries import QueriesApi
from servemesh.metrics.api.reports import ReportsApi
from servemesh.metrics.domain.cardinality import Roster
from servemesh.metrics.domain.digesting import Digestion
from servemesh.metrics.service.alert_book import AlertBook
from servemesh.metrics.service.alerting import NOTES_CHANNEL, Alerting
from servemesh.metrics.service.anomalies import Anomalies
from servemesh.metrics.service.capacity import Capacity
from servemesh.metrics.service.channels import AlertLog, AlertNotes
from servemesh.metrics.service.comparing import VersionComparison
from servemesh.metrics.service.conclusions import Conclusions
from servemesh.metrics.service.delivering import Channel, Delivering
from servemesh.metrics.service.drift import Drifts
from servemesh.metrics.service.expecting import ExpectedShortages
from servemesh.metrics.service.exporting import Exporter, ExportSettings
from servemesh.metrics.service.forecasting import Forecasts
from servemesh.metrics.service.housekeeping import Housekeeping
from servemesh.metrics.service.ingesting import Ingest
from servemesh.metrics.service.noting import Noting
from servemesh.metrics.service.overview import Overview
from servemesh.metrics.service.ports import Notes
from servemesh.metrics.service.report_gathering import Gathering
from servemesh.metrics.service.reports import Reports
from servemesh.metrics.service.tracing import SpanIntake
from servemesh.metrics.settings import Settings
from servemesh.observe import names
from servemesh.observe.setup import setup
from servemesh.rpc.health import Health
from servemesh.rpc.server import serving

STORE_RETRY_S = 2.0
MESH_PAGE = "/mesh"  # beside /metrics, which is about this process alone
EXPECTING_LOOKS = 4  # capacity is looked at ahead after so many looks at the rules
WATCHED_MS = 60_000
"""Sums that began so shortly before this process are taken to be new: the mesh started all at once."""
SERVICES = (
    "",
    "servemesh.api.metrics.v1.MetricsService",
    "opentelemetry.proto.collector.metrics.v1.MetricsService",
    "opentelemetry.proto.collector.trace.v1.TraceService",
)

_log = logging.getLogger(__name__)


async def run(settings: Settings, stop: Stop = until_signalled) -> None:
    """Serve until `stop` returns, observed and connected to bus and blob store; both may be away."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        page = PrometheusPage(SystemClock())
        observation = await enter(
            setup(
                "metrics",
                instance=settings.instance,
                metrics_address=settings.metrics_address,
                otlp_endpoint=settings.otlp_endpoint,
                sample_ratio=settings.trace_ratio,
                log_level=settings.log_level,
                host_folder=settings.data_dir,
                pages={MESH_PAGE: page.text},
            )
        )
        stream = StreamSettings(size_bytes_max=settings.events_bytes_max, replicas=settings.events_replicas)
        bus_settings = BusSettings(url=settings.nats_url, client_name=settings.instance, stream=stream)
        bus = await enter(NatsBus.running(bus_settings))
        blobs = await enter(MinioStore.running(bounds.blob_settings(settings)))
        await serve(settings, bus, blobs, observation.metrics_address, stop, page=page)


async def serve(
    settings: Settings,
    bus: Bus,
    blobs: BlobStore,
    metrics_address: str,
    stop: Stop,
    *,
    ready: Ready = ignored,
    page: PrometheusPage | None = None,
) -> None:
    """Serve until `stop` returns, once there is a store. The stack unwinds upwards: refuse, finish, close.

    `ready` is told the address once it serves.
    """
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        store = await enter(_opened_store(settings))
        otlp = await _intake(settings, store, bus, page, stack)
        answers = await _answers(settings, store, bus, blobs, stack)
        if settings.parquet_export:
            exporter = Exporter(store, blobs, SystemClock(), ExportSettings())
            await enter(background(exporter.run))
        health = Health()
        address = await enter(
            serving(
                settings.address,
                [otlp.register, answers.register],
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


async def _intake(
    settings: Settings, store: DuckStore, bus: Bus, page: PrometheusPage | None, stack: AsyncExitStack
) -> OtlpApi:
    """Everything that comes in: measurements, spans, and facts."""
    clock = SystemClock()
    roster = Roster(bounds.series_limits(settings))
    roster.load(store.series())
    digestion = Digestion(
        roster,
        bounds.time_bounds(settings),
        streams_max=settings.streams_max,
        scale_max=settings.histogram_scale_max,
        watched_ms=round(clock.now().timestamp() * 1000) - WATCHED_MS,
    )
    digester = stack.enter_context(ThreadPoolExecutor(1, "digester"))
    shown = ShownStore(store, page or PrometheusPage(clock))
    ingest = Ingest(shown, digestion, digester, clock, bounds.ingest_settings(settings))
    spans = SpanIntake(store, clock, bounds.span_settings(settings))
    housekeeping = Housekeeping(store, clock, ingest.forget, bounds.housekeeping_settings(settings))
    noting = Noting(EventFacts(bus), store)
    await stack.enter_async_context(background(ingest.run, spans.run, housekeeping.run, noting.run))
    forward = None
    if settings.forward_endpoint:
        forward = stack.enter_context(OtlpForward.running(bounds.forward_settings(settings)))
    return OtlpApi(ingest, spans, forward)


async def _answers(
    settings: Settings, store: DuckStore, bus: Bus, blobs: BlobStore, stack: AsyncExitStack
) -> MetricsApi:
    """Everything that is asked for, and what is told without being asked: alerts and reports."""
    clock = SystemClock()
    state = await stack.enter_async_context(SqlStore.opened(bounds.state_settings(settings)))
    rules, changes = load_rules(settings.rules_dir), Changes()
    book = AlertBook(
        state,
        rules,
        clock,
        changes,
        silences_max=settings.silences_max,
        watchers_max=settings.watchers_max,
    )
    overview = Overview(store, book.firing_count, bounds.prices(settings))
    forecaster = ChildForecaster(time_s=settings.forecast_s_max)
    forecasts = Forecasts(store, forecaster, clock, kept_max=settings.forecasts_kept_max)
    capacity = Capacity(store, forecasts, overview.worker_count, clock, bounds.objectives(settings))
    channels = await _channels(settings, store, bus, stack)
    shortages = ExpectedShortages(capacity, clock, interval_s=EXPECTING_LOOKS * settings.rules_interval_s)
    alerting = Alerting(
        state,
        store,
        shortages,
        rules,
        [name for name in channels if name != NOTES_CHANNEL],
        clock,
        changes,
        bounds.alert_settings(settings),
    )
    delivering = Delivering(
        state, channels, clock, random.Random(), changes, bounds.delivery_settings(settings)
    )
    reports = Reports(
        state,
        blobs,
        Gathering(store, Conclusions(overview, forecasts, capacity), state, clock),
        ChromiumRenderer(timeout_s=settings.report_pdf_s_max),
        clock,
        bounds.report_settings(settings),
    )
    await stack.enter_async_context(background(shortages.run, alerting.run, delivering.run, reports.run))
    analysis = AnalysisApi(
        overview, VersionComparison(store), Anomalies(store), Drifts(store), forecasts, capacity, clock
    )
    return MetricsApi(QueriesApi(store, clock), analysis, AlertsApi(book), ReportsApi(reports, clock))


async def _channels(
    settings: Settings, notes: Notes, bus: Bus, stack: AsyncExitStack
) -> Mapping[str, Channel]:
    """Everybody who is told of alerts, by name."""
    channels: dict[str, Channel] = {
        NOTES_CHANNEL: AlertNotes(notes),
        "log": AlertLog(),
        "events": AlertEvents(bus),
    }
    if settings.webhook_url.get_secret_value():
        webhook = WebhookSender.running(bounds.webhook_settings(settings), SystemClock())
        channels["webhook"] = await stack.enter_async_context(webhook)
    return channels


@asynccontextmanager
async def _opened_store(settings: Settings) -> AsyncIterator[DuckStore]:
    """Wait until the store can be opened: a process before this one may still have it."""
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    async with AsyncExitStack() as stack:
        while True:
            try:
                opened = DuckStore.opened(
                    settings.data_dir / "metrics.duckdb", bounds.store_settings(settings)
                )
                store = await stack.enter_async_context(opened)
                break
            except UnavailableError as error:
                _log.warning(names.STORE_WAITING, extra={"reason": error.reason})
                await asyncio.sleep(STORE_RETRY_S)
        yield store


if __name__ == "__main__":
    lifecycle.run(Settings, run)

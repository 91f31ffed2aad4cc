"""Starts everything that makes a process observable, and ends it last."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from servemesh.lifecycle import background
from servemesh.observe import logs, metrics, names
from servemesh.observe.endpoint import NO_PAGES, Page, exposing
from servemesh.observe.gpu import watching_gpus
from servemesh.observe.host import HostSeries, ProcessSeries

BEAT_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What `setup` started."""

    metrics_address: str  # the bound "host:port" of /metrics and /healthz


@asynccontextmanager
async def setup(
    service: str,
    *,
    instance: str,
    metrics_address: str = "127.0.0.1:0",
    otlp_endpoint: str | None = None,
    sample_ratio: float = 0.01,
    log_level: str = "INFO",
    host_folder: Path | None = None,
    pages: Mapping[str, Page] = NO_PAGES,
) -> AsyncIterator[Observation]:
    """Log, count and trace for the length of the block.

    Spans and metrics go to `otlp_endpoint` ("http://host:4317", OTLP over gRPC; "https://..." with TLS) if it is given;
    `sample_ratio` is the share of calls traced whose caller did not decide. A collector that is down costs spans, never
    calls. With `host_folder` the machine is watched too: its processors, memory, network, GPUs and the folder's disk.
    `pages` are shown beside its own metrics, by their path.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(logs.logging_to(service, instance, log_level))
        metrics.gauge(names.PROCESS_INFO).labels(service=service, instance=instance).set(1)
        if otlp_endpoint:
            from servemesh.observe.otlp import exporting  # its imports cost 0.2 s

            await stack.enter_async_context(exporting(service, instance, otlp_endpoint, sample_ratio))
        heart = _Heart()
        stack.enter_context(_using(host_folder))
        await stack.enter_async_context(background(heart.beat))
        metrics.gauge(names.PROCESS_LOOP_LAG).set_function(heart.lag_s)
        metrics.gauge(names.PROCESS_TASKS).set_function(lambda: heart.tasks)
        bound = stack.enter_context(exposing(metrics_address, heart.lag_s, pages))
        yield Observation(metrics_address=bound)


@contextmanager
def _using(host_folder: Path | None) -> Iterator[None]:
    """Show what the process uses, and the machine if a folder is given."""
    with ExitStack() as stack:
        stack.enter_context(metrics.collecting(ProcessSeries()))
        if host_folder is not None:
            stack.enter_context(metrics.collecting(HostSeries(host_folder)))
            stack.enter_context(watching_gpus())
        yield


class _Heart:
    """Beats on the event loop; any thread can ask how late it is."""

    def __init__(self) -> None:
        self._beat_at_s = time.monotonic()
        self.tasks = 0  # of the event loop, at the last beat

    async def beat(self) -> None:
        """Beat for ever."""
        while True:
            self._beat_at_s = time.monotonic()
            self.tasks = len(asyncio.all_tasks())
            await asyncio.sleep(BEAT_S)

    def lag_s(self) -> float:
        """Return by how much the next beat is late."""
        return max(0.0, time.monotonic() - self._beat_at_s - BEAT_S)

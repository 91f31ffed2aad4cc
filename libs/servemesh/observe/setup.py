"""Starts everything that makes a process observable, and ends it last."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from servemesh.lifecycle import background
from servemesh.observe import logs, metrics, names
from servemesh.observe.endpoint import exposing

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
) -> AsyncIterator[Observation]:
    """Log, count and trace for the length of the block.

    Spans and metrics go to `otlp_endpoint` ("http://host:4318", OTLP over HTTP) if it is given; `sample_ratio` is the
    share of calls traced whose caller did not decide. A collector that is down costs spans, never calls.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(logs.logging_to(service, instance, log_level))
        metrics.gauge(names.PROCESS_INFO).labels(service=service, instance=instance).set(1)
        if otlp_endpoint:
            from servemesh.observe.otlp import (
                exporting,
            )  # its imports cost 0.2 s, and most processes need none

            await stack.enter_async_context(exporting(service, instance, otlp_endpoint, sample_ratio))
        heart = _Heart()
        await stack.enter_async_context(background(heart.beat))
        metrics.gauge(names.PROCESS_LOOP_LAG).set_function(heart.lag_s)
        metrics.gauge(names.PROCESS_TASKS).set_function(lambda: heart.tasks)
        bound = stack.enter_context(exposing(metrics_address, heart.lag_s))
        yield Observation(metrics_address=bound)


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

"""Builds and runs a console: `python -m servemesh.metrics.console.main`."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack

from servemesh import lifecycle
from servemesh.lifecycle import Ready, Stop, SystemClock, background, ignored, until_signalled
from servemesh.metrics.console.adapters.mesh_calls import MeshCalls
from servemesh.metrics.console.api.app import application
from servemesh.metrics.console.service import Bounds, Pulse, Questions
from servemesh.metrics.console.settings import Settings
from servemesh.observe import names
from servemesh.observe.setup import setup
from servemesh.web.http_server import HttpLimits, serving_http

_log = logging.getLogger(__name__)


async def run(settings: Settings, stop: Stop = until_signalled) -> None:
    """Serve until `stop` returns, observed."""
    async with setup(
        "console",
        instance=settings.instance,
        metrics_address=settings.metrics_address,
        otlp_endpoint=settings.otlp_endpoint,
        sample_ratio=settings.trace_ratio,
        log_level=settings.log_level,
    ) as observation:
        await serve(settings, observation.metrics_address, stop)


async def serve(settings: Settings, metrics_address: str, stop: Stop, *, ready: Ready = ignored) -> None:
    """Serve until `stop` returns. `ready` is told the address once it serves."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        mesh, bounds = await enter(MeshCalls(settings.edge_address)), _bounds(settings)
        pulse = Pulse(mesh, SystemClock(), bounds)
        await enter(background(pulse.run))
        hosts = frozenset(name.strip().lower() for name in settings.hosts.split(","))
        app = application(
            Questions(mesh, bounds), pulse, question_bytes_max=settings.question_bytes_max, hosts=hosts
        )
        address = await enter(serving_http(settings.address, app, _http_limits(settings)))
        _log.info(names.READY, extra={"address": address, "metrics_address": metrics_address})
        ready(address)
        await stop()
        _log.info(names.DRAINING)


def _bounds(settings: Settings) -> Bounds:
    return Bounds(
        questions_max=settings.questions_max,
        question_s_max=settings.question_s_max,
        watchers_max=settings.watchers_max,
        pulse_s=settings.pulse_s,
        pulse_window_s=settings.pulse_window_s,
    )


def _http_limits(settings: Settings) -> HttpLimits:
    return HttpLimits(
        headers_bytes_max=settings.headers_bytes_max,
        headers_timeout_s=settings.headers_timeout_s,
        idle_timeout_s=settings.idle_timeout_s,
        connections_max=settings.connections_max,
        grace_s=settings.grace_s,
    )


if __name__ == "__main__":
    lifecycle.run(Settings, run)

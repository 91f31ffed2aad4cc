"""Builds and runs a REST front: `python -m servemesh.gateway.rest.main`."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack

from servemesh import lifecycle
from servemesh.gateway.rest.adapters.edge_calls import EdgeCalls
from servemesh.gateway.rest.api.app import application
from servemesh.gateway.rest.service import Front, FrontLimits
from servemesh.gateway.rest.settings import Settings
from servemesh.lifecycle import Ready, Stop, ignored, until_signalled
from servemesh.observe import names
from servemesh.observe.setup import setup
from servemesh.web.http_server import HttpLimits, serving_http

_log = logging.getLogger(__name__)


async def run(settings: Settings, stop: Stop = until_signalled) -> None:
    """Serve until `stop` returns, observed."""
    async with setup(
        "rest",
        instance=settings.instance,
        metrics_address=settings.metrics_address,
        otlp_endpoint=settings.otlp_endpoint,
        sample_ratio=settings.trace_ratio,
        log_level=settings.log_level,
    ) as observation:
        await serve(settings, observation.metrics_address, stop)


async def serve(settings: Settings, metrics_address: str, stop: Stop, *, ready: Ready = ignored) -> None:
    """Serve until `stop` returns, then finish what is in flight. `ready` is told the address once it serves."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        edge = await enter(EdgeCalls(settings.edge_address, message_bytes_max=settings.message_bytes_max))
        front = Front(edge, _front_limits(settings))
        address = await enter(serving_http(settings.address, application(front), _http_limits(settings)))
        _log.info(names.READY, extra={"address": address, "metrics_address": metrics_address})
        ready(address)
        await stop()
        _log.info(names.DRAINING)


def _front_limits(settings: Settings) -> FrontLimits:
    return FrontLimits(
        message_bytes_max=settings.message_bytes_max,
        json_bytes_max=settings.json_bytes_max,
        bodies_bytes_max=settings.bodies_bytes_max,
        calls_max=settings.calls_max,
        body_timeout_s=settings.body_timeout_s,
        deadline_s_default=settings.deadline_s_default,
        deadline_s_max=settings.deadline_s_max,
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

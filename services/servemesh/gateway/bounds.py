"""Every bound of a gateway, as its settings say."""

from __future__ import annotations

from servemesh.gateway.domain.membership import Patience
from servemesh.gateway.domain.snapshot.policy import (
    CallLimits,
    Capacity,
    ConnectionLimits,
    EdgePolicy,
    Retries,
)
from servemesh.gateway.domain.snapshot.policy import Health as EdgeHealth
from servemesh.gateway.service.activator import ActivationLimits
from servemesh.gateway.service.fleet_watch import WatchLimits
from servemesh.gateway.service.mesh import MeshLimits
from servemesh.gateway.service.streams import StreamLimits
from servemesh.gateway.settings import Settings
from servemesh.rpc.limits import Limits


def activation_limits(settings: Settings) -> ActivationLimits:
    """Of waiting for models that nobody holds."""
    return ActivationLimits(
        waiting_calls_max=settings.waiting_calls_max,
        waiting_bytes_max=settings.waiting_bytes_max,
        ask_interval_s=settings.demand_interval_s,
        ask_timeout_s=settings.ask_timeout_s,
        unknown_ttl_s=settings.unknown_ttl_s,
        unknown_max=settings.unknown_max,
    )


def stream_limits(settings: Settings) -> StreamLimits:
    """Of one client's stream."""
    return StreamLimits(
        lanes_max=settings.stream_lanes_max,
        requests_max=settings.stream_requests_max,
        answers_max=settings.stream_answers_max,
        answer_bytes_max=settings.stream_answer_bytes_max,
        attempts_max=settings.stream_attempts_max,
    )


def mesh_limits(settings: Settings) -> MeshLimits:
    """Of mesh-wide answers."""
    return MeshLimits(ask_timeout_s=settings.ask_timeout_s, load_timeout_s=settings.load_timeout_s)


def watch_limits(settings: Settings) -> WatchLimits:
    """How often to ask and how long to believe."""
    patience = Patience(
        silence_s=settings.silence_s,
        bus_gap_s=settings.bus_gap_s,
        listing_s=3 * settings.listing_interval_s,
    )
    return WatchLimits(
        patience=patience,
        ping_interval_s=settings.bus_ping_interval_s,
        listing_interval_s=settings.listing_interval_s,
        timeout_s=settings.listing_timeout_s,
    )


def edge_policy(settings: Settings) -> EdgePolicy:
    """The numbers by which Envoy works."""
    return EdgePolicy(
        calls=CallLimits(
            message_bytes_max=settings.message_bytes_max,
            metadata_bytes_max=settings.metadata_bytes_max,
            metadata_bytes_cut=4 * settings.metadata_bytes_max,
            metadata_entries_max=settings.metadata_entries_max,
            deadline_s_default=settings.deadline_s_default,
            deadline_s_max=settings.deadline_s_max,
        ),
        connections=ConnectionLimits(
            streams_max=settings.streams_max,
            headers_timeout_s=settings.headers_timeout_s,
            idle_timeout_s=settings.idle_timeout_s,
        ),
        health=EdgeHealth(
            check_interval_s=settings.health_interval_s,
            check_timeout_s=settings.health_timeout_s,
            unhealthy_after=settings.unhealthy_after,
            ping_timeout_s=settings.hang_timeout_s,
            eject_after_failures=settings.eject_after_failures,
            ejection_s=settings.ejection_s,
            ejection_max_s=settings.ejection_s_max,
            connect_timeout_s=settings.connect_timeout_s,
        ),
        capacity=Capacity(
            connections_max=settings.worker_connections_max,
            pending_max=settings.pending_max,
            requests_max=settings.requests_max,
        ),
        retries=Retries(
            attempts_max=settings.retries_max,
            budget_percent=settings.retry_budget_percent,
            budget_floor=settings.retry_budget_floor,
        ),
        pushback_ms=settings.pushback_ms,
        trace_percent=100 * settings.trace_ratio,
    )


def call_limits(settings: Settings) -> Limits:
    """Of the calls that the gateway service takes itself."""
    return Limits(
        message_bytes_max=settings.message_bytes_max,
        metadata_bytes_max=settings.metadata_bytes_max,
        calls_max=settings.calls_max,
        deadline_s_default=settings.deadline_s_default,
        deadline_s_max=settings.deadline_s_max,
    )

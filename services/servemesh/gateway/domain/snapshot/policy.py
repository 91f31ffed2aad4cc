"""The numbers by which the edge works; edge.md's findings and reliability's starting values."""

from __future__ import annotations

from dataclasses import dataclass, field

MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """What one call may ask of the edge."""

    message_bytes_max: int = 64 * MEBIBYTE
    # A frame's header and the rounding of Envoy's watermarks come on top of the largest message.
    message_margin_bytes: int = MEBIBYTE
    metadata_bytes_max: int = 16 * 1024
    # Above it the edge cuts the stream, which callers see as INTERNAL; up to it the service behind refuses.
    metadata_bytes_cut: int = 64 * 1024
    metadata_entries_max: int = 100
    deadline_s_default: float = 30.0
    deadline_s_max: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What one client's connection may ask of the edge."""

    streams_max: int = 1024
    # 64 KiB and 1 MiB are Envoy's advice for the edge; tensors need more in flight to fill a line.
    stream_window_bytes: int = MEBIBYTE
    connection_window_bytes: int = 8 * MEBIBYTE
    # Of a client's stream at a gateway: what its slow reader may leave at the edge, beside the buffer.
    gateway_window_bytes: int = 256 * 1024
    buffer_bytes: int = MEBIBYTE
    headers_timeout_s: float = 10.0
    idle_timeout_s: float = 300.0
    # A client that has gone, or answers no ping, is cut off within 20 s.
    ping_interval_s: float = 6.0
    ping_timeout_s: float = 10.0
    drain_timeout_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """When and how often a call is sent again, elsewhere."""

    # What is not to be sent again although its status is one of these says so (see xds_outliers).
    on: tuple[str, ...] = (
        "unavailable",
        "internal",
        "resource-exhausted",
        "cancelled",
        "connect-failure",
        "reset",
        "refused-stream",
    )
    attempts_max: int = 4
    # The one that failed has no calls under way, so that the choice falls on it again and again.
    host_attempts_max: int = 40
    backoff_min_s: float = 0.010
    backoff_max_s: float = 0.100
    budget_percent: float = 20.0
    # Every call in flight on a killed worker is sent again at once: the budget must not stop them.
    budget_floor: int = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How the edge finds out that a worker cannot answer."""

    check_interval_s: float = 0.5
    check_timeout_s: float = 0.4
    unhealthy_after: int = 2
    healthy_after: int = 1
    # What frees the calls that hang on a stopped process: failed checks alone do not.
    ping_interval_s: float = 0.5
    ping_timeout_s: float = 1.0
    eject_after_failures: int = 3  # in a row
    eject_interval_s: float = 0.5
    ejection_s: float = 2.0
    ejection_max_s: float = 2.0  # a worker that is back is not kept waiting longer the second time
    ejection_percent_max: int = 100
    connect_timeout_s: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """How much the edge takes on for one cluster before it refuses."""

    choices: int = 4  # workers looked at for one call, the least loaded of which gets it
    connections_max: int = 4096
    pending_max: int = 16384
    requests_max: int = 16384


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgePolicy:
    """All of it."""

    calls: CallLimits = field(default_factory=CallLimits)
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)
    retries: Retries = field(default_factory=Retries)
    health: Health = field(default_factory=Health)
    capacity: Capacity = field(default_factory=Capacity)
    pushback_ms: int = 250  # when to come back after "nobody can answer"
    trace_percent: float = 10.0  # of the calls that come without a sampling decision

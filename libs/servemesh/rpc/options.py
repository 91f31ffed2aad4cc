"""The settings of gRPC's transport, for servers and channels, with what each is there to prevent."""

from __future__ import annotations

from servemesh.rpc.limits import Limits

Options = list[tuple[str, int]]

_IDENTITY, _GZIP = 1 << 0, 1 << 2
STREAMS_MAX = 20_000  # a burst above it would meet RST_STREAM on a fresh connection
MESSAGE_MARGIN_BYTES = 2 << 20  # more than the edge lets pass above the bound
PENDING_MAX = 20_000  # above 1,000, the default, core drops calls at random


def server_options(limits: Limits) -> Options:
    """Return what a server is started with."""
    return [
        ("grpc.so_reuseport", 0),  # else two servers share a taken port without a word
        # Somewhat more than the bound, which we keep ourselves: see below.
        ("grpc.max_receive_message_length", limits.message_bytes_max + MESSAGE_MARGIN_BYTES),
        ("grpc.max_send_message_length", limits.message_bytes_max),
        # Four times the bound, which we keep ourselves: the transports answer with codes of their own.
        ("grpc.max_metadata_size", 4 * limits.metadata_bytes_max),
        ("grpc.absolute_max_metadata_size", 4 * limits.metadata_bytes_max),
        ("grpc.max_concurrent_streams", STREAMS_MAX),
        ("grpc.server.max_pending_requests", PENDING_MAX),
        ("grpc.server.max_pending_requests_hard_limit", 2 * PENDING_MAX),
        # Identity alone, unless the protocol needs gzip: no compressed bombs.
        ("grpc.compression_enabled_algorithms_bitset", _IDENTITY | (_GZIP if limits.takes_gzip else 0)),
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.http2.ping_timeout_ms", 5_000),  # this one fires, keepalive_timeout does not
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 200),  # else GOAWAY "too_many_pings"
        ("grpc.http2.max_ping_strikes", 0),
    ]


def channel_options(message_bytes_max: int) -> Options:
    """Return what a channel is opened with."""
    return [
        ("grpc.max_receive_message_length", message_bytes_max),
        ("grpc.max_send_message_length", message_bytes_max),
        ("grpc.keepalive_time_ms", 1_000),
        ("grpc.keepalive_timeout_ms", 1_000),
        ("grpc.http2.ping_timeout_ms", 1_000),  # finds a hung peer in 1 to 2 s instead of 25
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 5_000),  # the time one attempt to connect has
        ("grpc.max_reconnect_backoff_ms", 1_000),  # else a peer that is back is ignored for two minutes
        ("grpc.enable_retries", 0),  # who retries decides it, once
        ("grpc.use_local_subchannel_pool", 1),
    ]

"""Small xDS messages that every other one is made of."""

from __future__ import annotations

from collections.abc import Iterable

from envoy.config.core.v3 import address_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from google.protobuf import any_pb2, duration_pb2, wrappers_pb2
from google.protobuf.message import Message

from servemesh.gateway.domain.snapshot.values import Address

WORKERS = "workers"
GATEWAY = "gateway"
REGISTRY = "registry"
OPTIMIZER = "optimizer"
METRICS = "metrics"
TRACES = "traces"
EDGE = "edge"
LUA = "envoy.filters.http.lua"
LB = "envoy.lb"
HTTP_PROTOCOL_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
WINDOW_BYTES = 8 << 20
CONNECTION_WINDOW_BYTES = 1 << 30
GRANTS_PER_DATA_FRAME_MAX = 1 << 20  # no bound that a service of ours would meet


def packed(message: Message) -> any_pb2.Any:
    """Return `message` in an Any, with maps in a fixed order, so that equal content has equal bytes."""
    wrapped = any_pb2.Any()
    wrapped.Pack(message, deterministic=True)
    return wrapped


def seconds(value_s: float) -> duration_pb2.Duration:
    """Return a Duration."""
    return duration_pb2.Duration(seconds=int(value_s), nanos=round(value_s % 1 * 1e9))


def number(value: int) -> wrappers_pb2.UInt32Value:
    """Return a number that may also be absent."""
    return wrappers_pb2.UInt32Value(value=value)


def flag(value: bool) -> wrappers_pb2.BoolValue:
    """Return a truth value that may also be absent."""
    return wrappers_pb2.BoolValue(value=value)


def socket_address(address: Address) -> address_pb2.Address:
    """Return a TCP address."""
    return address_pb2.Address(
        socket_address=address_pb2.SocketAddress(address=address.host, port_value=address.port)
    )


def http2_upstream(
    *,
    ping_interval_s: float,
    ping_timeout_s: float,
    window_bytes: int = WINDOW_BYTES,
    filters: Iterable[hcm_pb2.HttpFilter] = (),
) -> dict[str, any_pb2.Any]:
    """Return what makes a cluster speak HTTP/2, with pings that find a peer which has stopped.

    What it sends and answers goes through `filters`, of which the last one must be the codec, if there are any.
    """
    options = http_protocol_options_pb2.HttpProtocolOptions()
    http2 = options.explicit_http_config.http2_protocol_options
    http2.connection_keepalive.interval.CopyFrom(seconds(ping_interval_s))
    http2.connection_keepalive.timeout.CopyFrom(seconds(ping_timeout_s))
    http2.initial_stream_window_size.value = window_bytes
    # Streams whose clients are slow keep theirs: were it theirs together, they would hold everybody up.
    http2.initial_connection_window_size.value = CONNECTION_WINDOW_BYTES
    # gRPC grants a window for each message that it reads, of which there may be hundreds in a frame. From clients
    # that would be an attack; a service's connection, cut for it, would take everybody's streams with it.
    http2.max_inbound_window_update_frames_per_data_frame_sent.value = GRANTS_PER_DATA_FRAME_MAX
    options.http_filters.extend(filters)
    return {HTTP_PROTOCOL_OPTIONS: packed(options)}

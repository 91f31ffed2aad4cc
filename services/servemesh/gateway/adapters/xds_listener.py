"""The one public listener of a snapshot as xDS messages."""

from __future__ import annotations

from importlib import resources

from envoy.config.common.mutation_rules.v3 import mutation_rules_pb2
from envoy.config.core.v3 import base_pb2, extension_pb2, grpc_method_list_pb2, grpc_service_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.config.trace.v3 import http_tracer_pb2, opentelemetry_pb2
from envoy.extensions.filters.http.grpc_stats.v3 import config_pb2 as grpc_stats_pb2
from envoy.extensions.filters.http.lua.v3 import lua_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.listener.http_inspector.v3 import http_inspector_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from envoy.extensions.http.early_header_mutation.header_mutation.v3 import header_mutation_pb2
from envoy.extensions.request_id.uuid.v3 import uuid_pb2
from envoy.extensions.tracers.opentelemetry.samplers.v3 import parent_based_sampler_pb2 as parent_pb2
from envoy.extensions.tracers.opentelemetry.samplers.v3 import trace_id_ratio_based_sampler_pb2 as ratio_pb2
from envoy.type.matcher.v3 import string_pb2
from envoy.type.v3 import percent_pb2

from servemesh.gateway.adapters import xds_values as xds
from servemesh.gateway.adapters.xds_clusters import from_ads
from servemesh.gateway.adapters.xds_replies import local_replies
from servemesh.gateway.adapters.xds_routes import ROUTES
from servemesh.gateway.domain.snapshot.policy import EdgePolicy
from servemesh.gateway.domain.snapshot.values import Snapshot

OUR_HEADERS = "x-servemesh-"
EXPORT_TIMEOUT_S = 3.0
# A listener without routes would tell callers that there is no such method; so it rather opens later.
ROUTES_WAIT_S = 15.0
SPANS_MAX = 2_048  # that wait for a collector which is slow; more are dropped


def name_reader() -> str:
    """Return the Lua script that reads model names."""
    return (resources.files("servemesh.gateway") / "edge" / "name_reader.lua").read_text()


def listeners_of(snapshot: Snapshot) -> list[listener_pb2.Listener]:
    """Return the listener; only its routes come separately, because replacing a listener closes connections."""
    filter_ = listener_components_pb2.Filter(
        name="envoy.filters.network.http_connection_manager", typed_config=xds.packed(_http(snapshot))
    )
    return [
        listener_pb2.Listener(
            name=xds.EDGE,
            address=xds.socket_address(snapshot.neighbours.edge),
            filter_chains=[listener_components_pb2.FilterChain(filters=[filter_])],
            per_connection_buffer_limit_bytes=xds.number(snapshot.policy.connections.buffer_bytes),
            # Whoever connects and does not begin to speak is cut off by the time that headers may take.
            listener_filters=[_speech()],
            listener_filters_timeout=xds.seconds(snapshot.policy.connections.headers_timeout_s),
        )
    ]


def _speech() -> listener_components_pb2.ListenerFilter:
    return listener_components_pb2.ListenerFilter(
        name="envoy.filters.listener.http_inspector",
        typed_config=xds.packed(http_inspector_pb2.HttpInspector()),
    )


def _http(snapshot: Snapshot) -> hcm_pb2.HttpConnectionManager:
    policy, connections = snapshot.policy, snapshot.policy.connections
    manager = hcm_pb2.HttpConnectionManager(
        codec_type=hcm_pb2.HttpConnectionManager.AUTO,  # a stray HTTP/1 request gets an answer too
        stat_prefix=xds.EDGE,
        rds=hcm_pb2.Rds(config_source=from_ads(ROUTES_WAIT_S), route_config_name=ROUTES),
        http_filters=_filters(),
        early_header_mutation_extensions=[_without_our_headers()],
        local_reply_config=local_replies(policy),
        max_request_headers_kb=xds.number(policy.calls.metadata_bytes_cut // 1024),
        use_remote_address=xds.flag(True),
        # Envoy keeps its decision to trace in the request's id: without ids it never begins a trace itself.
        generate_request_id=xds.flag(snapshot.neighbours.trace_collector is not None),
        request_headers_timeout=xds.seconds(connections.headers_timeout_s),
        stream_idle_timeout=xds.seconds(connections.idle_timeout_s),
        drain_timeout=xds.seconds(connections.drain_timeout_s),
        normalize_path=xds.flag(True),
        merge_slashes=False,
        path_with_escaped_slashes_action=hcm_pb2.HttpConnectionManager.REJECT_REQUEST,
    )
    _limit_connections(manager, policy)
    if snapshot.neighbours.trace_collector is not None:
        manager.tracing.CopyFrom(_tracing(policy))
        # Without request ids Envoy traces nothing, unless it leaves the decision to the tracer.
        request_ids = uuid_pb2.UuidRequestIdConfig(use_request_id_for_trace_sampling=xds.flag(False))
        manager.request_id_extension.typed_config.CopyFrom(xds.packed(request_ids))
    return manager


def _limit_connections(manager: hcm_pb2.HttpConnectionManager, policy: EdgePolicy) -> None:
    connections = policy.connections
    # Names with underscores stay allowed: Triton's own metadata has them.
    manager.common_http_protocol_options.idle_timeout.CopyFrom(xds.seconds(connections.idle_timeout_s))
    manager.common_http_protocol_options.max_headers_count.value = policy.calls.metadata_entries_max
    http2 = manager.http2_protocol_options
    http2.max_concurrent_streams.value = connections.streams_max
    http2.initial_stream_window_size.value = connections.stream_window_bytes
    http2.initial_connection_window_size.value = connections.connection_window_bytes
    http2.connection_keepalive.interval.CopyFrom(xds.seconds(connections.ping_interval_s))
    http2.connection_keepalive.timeout.CopyFrom(xds.seconds(connections.ping_timeout_s))


def _without_our_headers() -> extension_pb2.TypedExtensionConfig:
    removal = mutation_rules_pb2.HeaderMutation.RemoveOnMatch(
        key_matcher=string_pb2.StringMatcher(prefix=OUR_HEADERS, ignore_case=True)
    )
    mutation = header_mutation_pb2.HeaderMutation(
        mutations=[mutation_rules_pb2.HeaderMutation(remove_on_match=removal)]
    )
    return extension_pb2.TypedExtensionConfig(
        name="envoy.http.early_header_mutation.header_mutation", typed_config=xds.packed(mutation)
    )


def _filters() -> list[hcm_pb2.HttpFilter]:
    lua = lua_pb2.Lua(default_source_code=base_pb2.DataSource(inline_string=name_reader()))
    # Where the route depends on what the script writes, it has it chosen anew itself.
    lua.clear_route_cache.value = False
    return [
        # Runs only where a route has a configuration for it: it must not see a stream.
        hcm_pb2.HttpFilter(name=xds.LUA, typed_config=xds.packed(lua), disabled=True),
        # Counts statuses of calls by cluster, methods left out.
        hcm_pb2.HttpFilter(
            name="envoy.filters.http.grpc_stats", typed_config=xds.packed(_statuses_counted())
        ),
        hcm_pb2.HttpFilter(
            name="envoy.filters.http.router",
            typed_config=xds.packed(router_pb2.Router(suppress_envoy_headers=True)),
        ),
    ]


def _statuses_counted() -> grpc_stats_pb2.FilterConfig:
    return grpc_stats_pb2.FilterConfig(
        individual_method_stats_allowlist=grpc_method_list_pb2.GrpcMethodList()
    )


def _tracing(policy: EdgePolicy) -> hcm_pb2.HttpConnectionManager.Tracing:
    exporter = opentelemetry_pb2.OpenTelemetryConfig(
        service_name="servemesh-edge",
        grpc_service=grpc_service_pb2.GrpcService(
            envoy_grpc=grpc_service_pb2.GrpcService.EnvoyGrpc(cluster_name=xds.TRACES),
            timeout=xds.seconds(EXPORT_TIMEOUT_S),
        ),
        sampler=_sampler(policy),
        max_cache_size=xds.number(SPANS_MAX),
    )
    return hcm_pb2.HttpConnectionManager.Tracing(
        provider=http_tracer_pb2.Tracing.Http(
            name="envoy.tracers.opentelemetry", typed_config=xds.packed(exporter)
        )
    )


def _sampler(policy: EdgePolicy) -> extension_pb2.TypedExtensionConfig:
    """Trace what the caller traces, and a share of what comes without a decision."""
    share = percent_pb2.FractionalPercent(
        numerator=round(policy.trace_percent * 10_000), denominator=percent_pb2.FractionalPercent.MILLION
    )
    ratio = ratio_pb2.TraceIdRatioBasedSamplerConfig(sampling_percentage=share)
    parent = parent_pb2.ParentBasedSamplerConfig(
        wrapped_sampler=extension_pb2.TypedExtensionConfig(
            name="envoy.tracers.opentelemetry.samplers.trace_id_ratio_based", typed_config=xds.packed(ratio)
        )
    )
    return extension_pb2.TypedExtensionConfig(
        name="envoy.tracers.opentelemetry.samplers.parent_based", typed_config=xds.packed(parent)
    )

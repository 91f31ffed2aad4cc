"""The file that Envoy is started with: who it is, where its gateways are, and where to look without them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import (
    address_pb2,
    backoff_pb2,
    base_pb2,
    config_source_pb2,
    grpc_service_pb2,
    health_check_pb2,
)
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.config.overload.v3 import overload_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.http.lua.v3 import lua_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from envoy.extensions.resource_monitors.downstream_connections.v3 import downstream_connections_pb2
from envoy.extensions.resource_monitors.fixed_heap.v3 import fixed_heap_pb2
from envoy.type.matcher.v3 import string_pb2
from google.protobuf import json_format, struct_pb2

from servemesh.gateway.adapters import xds_admin_window
from servemesh.gateway.adapters import xds_values as xds
from servemesh.gateway.adapters.xds_clusters import collector_cluster, from_ads
from servemesh.gateway.adapters.xds_statistics import STATISTICS, statistics_sink
from servemesh.gateway.domain.snapshot.values import Address, Collector

GATEWAYS = "xds"
LAST_KNOWN = "xds-last-known"
HEALTH_INTERVAL_S = 0.5
HEALTH_TIMEOUT_S = 0.5
ASK_AGAIN_S_FIRST = 0.1
ASK_AGAIN_S_MAX = 1.0
ADS_PATH = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What one Envoy has to know before it knows anything."""

    node_id: str
    admin: Address
    gateways: Sequence[Address]  # their ADS servers
    last_known_path: Path  # the gateway's last tables
    heap_bytes_max: int
    connections_max: int
    collector: Collector | None = None  # of its statistics
    metrics: Address | None = None  # where what others may see of the admin interface is shown


def bootstrap_json(start: Start) -> str:
    """Return the bootstrap as Envoy reads it."""
    return str(json_format.MessageToJson(_bootstrap(start), preserving_proto_field_name=True))


def _bootstrap(start: Start) -> bootstrap_pb2.Bootstrap:
    bootstrap = bootstrap_pb2.Bootstrap(
        node=base_pb2.Node(id=start.node_id, cluster="servemesh-edge"),
        static_resources=bootstrap_pb2.Bootstrap.StaticResources(
            clusters=[
                _gateways_cluster(start.gateways),
                _xds_cluster(LAST_KNOWN, [_own_socket(start)]),
            ],
            listeners=[_last_known_listener(start)],
        ),
        dynamic_resources=bootstrap_pb2.Bootstrap.DynamicResources(
            lds_config=from_ads(), cds_config=from_ads(), ads_config=_ads()
        ),
        overload_manager=_overload_manager(start),
    )
    layer = bootstrap.layered_runtime.layers.add(name="servemesh")
    layer.static_layer.update({"envoy.restart_features.xds_failover_support": True})
    bootstrap.admin.address.CopyFrom(xds.socket_address(start.admin))
    if start.collector is not None:
        bootstrap.static_resources.clusters.append(collector_cluster(STATISTICS, start.collector))
        bootstrap.stats_sinks.append(statistics_sink(start.node_id))
    if start.metrics is not None:
        bootstrap.static_resources.clusters.append(xds_admin_window.admin_cluster(start.admin))
        bootstrap.static_resources.listeners.append(xds_admin_window.metrics_listener(start.metrics))
    return bootstrap


def _ads() -> config_source_pb2.ApiConfigSource:
    # By default Envoy waits for up to half a minute before it asks again a gateway that was away.
    again = base_pb2.RetryPolicy(
        retry_back_off=backoff_pb2.BackoffStrategy(
            base_interval=xds.seconds(ASK_AGAIN_S_FIRST), max_interval=xds.seconds(ASK_AGAIN_S_MAX)
        )
    )
    # Two sources: the second is asked only while the first has never answered.
    return config_source_pb2.ApiConfigSource(
        api_type=config_source_pb2.ApiConfigSource.GRPC,
        transport_api_version=config_source_pb2.ApiVersion.V3,
        set_node_on_first_message_only=True,
        grpc_services=[
            grpc_service_pb2.GrpcService(
                envoy_grpc=grpc_service_pb2.GrpcService.EnvoyGrpc(cluster_name=name, retry_policy=again)
            )
            for name in (GATEWAYS, LAST_KNOWN)
        ],
    )


def _own_socket(start: Start) -> address_pb2.Address:
    # In the abstract namespace of Linux: no port to find, no file to leave behind.
    digest = hashlib.sha256(str(start.last_known_path).encode()).hexdigest()[:16]
    return address_pb2.Address(pipe=address_pb2.Pipe(path=f"@servemesh-{LAST_KNOWN}-{digest}"))


def _gateways_cluster(gateways: Sequence[Address]) -> cluster_pb2.Cluster:
    """Envoy asks only gateways that answer: one that hangs costs no more time than one that is gone."""
    cluster = _xds_cluster(GATEWAYS, [xds.socket_address(address) for address in gateways])
    interval = xds.seconds(HEALTH_INTERVAL_S)
    cluster.health_checks.add(
        timeout=xds.seconds(HEALTH_TIMEOUT_S),
        interval=interval,
        no_traffic_interval=interval,
        unhealthy_threshold=xds.number(2),
        healthy_threshold=xds.number(1),
        grpc_health_check=health_check_pb2.HealthCheck.GrpcHealthCheck(),
    )
    cluster.common_lb_config.healthy_panic_threshold.value = 0
    return cluster


def _xds_cluster(name: str, addresses: Sequence[address_pb2.Address]) -> cluster_pb2.Cluster:
    endpoints = [
        endpoint_components_pb2.LbEndpoint(endpoint=endpoint_components_pb2.Endpoint(address=address))
        for address in addresses
    ]
    return cluster_pb2.Cluster(
        name=name,
        type=cluster_pb2.Cluster.STATIC if name == LAST_KNOWN else cluster_pb2.Cluster.STRICT_DNS,
        connect_timeout=xds.seconds(1),
        typed_extension_protocol_options=xds.http2_upstream(ping_interval_s=1.0, ping_timeout_s=2.0),
        load_assignment=endpoint_pb2.ClusterLoadAssignment(
            cluster_name=name,
            endpoints=[endpoint_components_pb2.LocalityLbEndpoints(lb_endpoints=endpoints)],
        ),
    )


def _last_known_listener(start: Start) -> listener_pb2.Listener:
    script = (resources.files("servemesh.gateway") / "edge" / "last_known.lua").read_text()
    routes = [_relay_route(), _file_route(start.last_known_path)]
    host = route_components_pb2.VirtualHost(name=LAST_KNOWN, domains=["*"], routes=routes)
    lua = lua_pb2.Lua(default_source_code=base_pb2.DataSource(inline_string=script))
    manager = hcm_pb2.HttpConnectionManager(
        stat_prefix=LAST_KNOWN,
        route_config=route_pb2.RouteConfiguration(name=LAST_KNOWN, virtual_hosts=[host]),
        http_filters=[
            hcm_pb2.HttpFilter(name=xds.LUA, typed_config=xds.packed(lua), disabled=True),
            hcm_pb2.HttpFilter(
                name="envoy.filters.http.router", typed_config=xds.packed(router_pb2.Router())
            ),
        ],
    )
    filter_ = listener_components_pb2.Filter(
        name="envoy.filters.network.http_connection_manager", typed_config=xds.packed(manager)
    )
    return listener_pb2.Listener(
        name=LAST_KNOWN,
        address=_own_socket(start),
        filter_chains=[listener_components_pb2.FilterChain(filters=[filter_])],
    )


def _relay_route() -> route_components_pb2.Route:
    """Envoy turns what it answers itself to a gRPC call into a bare status. So the call goes round once more,
    as something else than gRPC, and the answer to that may have a body.
    """
    is_grpc = route_components_pb2.HeaderMatcher(
        name="content-type", string_match=string_pb2.StringMatcher(exact="application/grpc")
    )
    return route_components_pb2.Route(
        match=route_components_pb2.RouteMatch(path=ADS_PATH, headers=[is_grpc]),
        route=route_components_pb2.RouteAction(cluster=LAST_KNOWN, timeout=xds.seconds(0)),
        request_headers_to_add=[
            base_pb2.HeaderValueOption(
                header=base_pb2.HeaderValue(key="content-type", value="application/x-servemesh-tables"),
                append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
            )
        ],
    )


def _file_route(path: Path) -> route_components_pb2.Route:
    context = struct_pb2.Struct()
    context.update({"path": str(path)})
    route = route_components_pb2.Route(
        match=route_components_pb2.RouteMatch(path=ADS_PATH),
        direct_response=route_components_pb2.DirectResponseAction(status=503),
    )
    route.typed_per_filter_config[xds.LUA].CopyFrom(xds.packed(lua_pb2.LuaPerRoute(filter_context=context)))
    return route


def _overload_manager(start: Start) -> overload_pb2.OverloadManager:
    heap, connections = (
        "envoy.resource_monitors.fixed_heap",
        "envoy.resource_monitors.global_downstream_max_connections",
    )
    return overload_pb2.OverloadManager(
        refresh_interval=xds.seconds(0.25),
        resource_monitors=[
            overload_pb2.ResourceMonitor(
                name=heap,
                typed_config=xds.packed(
                    fixed_heap_pb2.FixedHeapConfig(max_heap_size_bytes=start.heap_bytes_max)
                ),
            ),
            overload_pb2.ResourceMonitor(
                name=connections,
                typed_config=xds.packed(
                    downstream_connections_pb2.DownstreamConnectionsConfig(
                        max_active_downstream_connections=start.connections_max
                    )
                ),
            ),
        ],
        actions=[
            _action("envoy.overload_actions.shrink_heap", heap, 0.95),
            _action("envoy.overload_actions.stop_accepting_requests", heap, 0.98),
        ],
    )


def _action(name: str, monitor: str, threshold: float) -> overload_pb2.OverloadAction:
    trigger = overload_pb2.Trigger(name=monitor, threshold=overload_pb2.ThresholdTrigger(value=threshold))
    return overload_pb2.OverloadAction(name=name, triggers=[trigger])

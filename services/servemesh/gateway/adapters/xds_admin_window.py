"""A window on Envoy's admin interface: whether it is ready, and its metrics, for those who must not reach the rest."""

from __future__ import annotations

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from envoy.type.matcher.v3 import string_pb2

from servemesh.gateway.adapters import xds_values as xds
from servemesh.gateway.domain.snapshot.values import Address

ADMIN = "admin"
METRICS = "metrics"
PATHS = ("/ready", "/stats/prometheus")


def admin_cluster(admin: Address) -> cluster_pb2.Cluster:
    """Return the admin interface as one that calls can be sent to."""
    endpoint = endpoint_components_pb2.Endpoint(address=xds.socket_address(admin))
    group = endpoint_components_pb2.LocalityLbEndpoints(
        lb_endpoints=[endpoint_components_pb2.LbEndpoint(endpoint=endpoint)]
    )
    return cluster_pb2.Cluster(
        name=ADMIN,
        type=cluster_pb2.Cluster.STATIC,
        connect_timeout=xds.seconds(1),
        load_assignment=endpoint_pb2.ClusterLoadAssignment(cluster_name=ADMIN, endpoints=[group]),
    )


def metrics_listener(address: Address) -> listener_pb2.Listener:
    """Return what answers `PATHS` at `address`, to GET alone."""
    to_admin = route_components_pb2.RouteAction(cluster=ADMIN)
    is_get = route_components_pb2.HeaderMatcher(
        name=":method", string_match=string_pb2.StringMatcher(exact="GET")
    )
    routes = [
        route_components_pb2.Route(
            match=route_components_pb2.RouteMatch(path=path, headers=[is_get]), route=to_admin
        )
        for path in PATHS
    ]
    host = route_components_pb2.VirtualHost(name=METRICS, domains=["*"], routes=routes)
    manager = hcm_pb2.HttpConnectionManager(
        stat_prefix=METRICS,
        route_config=route_pb2.RouteConfiguration(name=METRICS, virtual_hosts=[host]),
        http_filters=[
            hcm_pb2.HttpFilter(name="envoy.filters.http.router", typed_config=xds.packed(router_pb2.Router()))
        ],
    )
    filter_ = listener_components_pb2.Filter(
        name="envoy.filters.network.http_connection_manager", typed_config=xds.packed(manager)
    )
    return listener_pb2.Listener(
        name=METRICS,
        address=xds.socket_address(address),
        filter_chains=[listener_components_pb2.FilterChain(filters=[filter_])],
    )

"""A snapshot as the four tables that Envoy asks for, each with a version that follows from its content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from google.protobuf import any_pb2

from servemesh.gateway.adapters import xds_values as xds
from servemesh.gateway.adapters.xds_clusters import clusters_of
from servemesh.gateway.adapters.xds_endpoints import endpoints_of
from servemesh.gateway.adapters.xds_listener import listeners_of
from servemesh.gateway.adapters.xds_routes import routes_of
from servemesh.gateway.domain.snapshot.values import Snapshot

_TYPE_URL = "type.googleapis.com/"
CLUSTERS = _TYPE_URL + cluster_pb2.Cluster.DESCRIPTOR.full_name
ENDPOINTS = _TYPE_URL + endpoint_pb2.ClusterLoadAssignment.DESCRIPTOR.full_name
LISTENERS = _TYPE_URL + listener_pb2.Listener.DESCRIPTOR.full_name
ROUTES = _TYPE_URL + route_pb2.RouteConfiguration.DESCRIPTOR.full_name
CUT_MARK = "-cut"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """All resources of one type, by name."""

    version: str
    resources: Mapping[str, any_pb2.Any]


Tables = Mapping[str, Table]


def tables_of(snapshot: Snapshot) -> Tables:
    """Return the tables by type URL, in the order in which Envoy must learn of them."""
    clusters = _table((cluster.name, xds.packed(cluster)) for cluster in clusters_of(snapshot))
    if snapshot.cuts[0] > 1:
        clusters = Table(version=clusters.version + CUT_MARK, resources=clusters.resources)
    tables = {
        CLUSTERS: clusters,
        ENDPOINTS: _table(endpoints_of(snapshot)),
        LISTENERS: _table((listener.name, xds.packed(listener)) for listener in listeners_of(snapshot)),
        ROUTES: _table((routes.name, xds.packed(routes)) for routes in routes_of(snapshot)),
    }
    if snapshot.endpoints is None:
        del tables[ENDPOINTS]  # an Envoy that has endpoints keeps them
    return tables


def is_cut(clusters_version: str) -> bool:
    """Whether an Envoy that works by clusters of this version has the workers in several of them."""
    return clusters_version.endswith(CUT_MARK)


def _table(named: Iterable[tuple[str, any_pb2.Any]]) -> Table:
    resources = dict(named)
    digest = hashlib.sha256()
    for resource in resources.values():
        digest.update(resource.value)
    return Table(version=digest.hexdigest()[:16], resources=resources)

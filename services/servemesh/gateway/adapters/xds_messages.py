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
from google.protobuf.message import Message

from servemesh.gateway.adapters import xds_values as xds
from servemesh.gateway.adapters.xds_clusters import clusters_of, endpoints_of
from servemesh.gateway.adapters.xds_listener import listeners_of
from servemesh.gateway.adapters.xds_routes import routes_of
from servemesh.gateway.domain.snapshot.values import Snapshot

_TYPE_URL = "type.googleapis.com/"
CLUSTERS = _TYPE_URL + cluster_pb2.Cluster.DESCRIPTOR.full_name
ENDPOINTS = _TYPE_URL + endpoint_pb2.ClusterLoadAssignment.DESCRIPTOR.full_name
LISTENERS = _TYPE_URL + listener_pb2.Listener.DESCRIPTOR.full_name
ROUTES = _TYPE_URL + route_pb2.RouteConfiguration.DESCRIPTOR.full_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """All resources of one type."""

    version: str
    resources: tuple[any_pb2.Any, ...]


Tables = Mapping[str, Table]


def tables_of(snapshot: Snapshot) -> Tables:
    """Return the tables by type URL, in the order in which Envoy must learn of them."""
    tables = {
        CLUSTERS: _table(clusters_of(snapshot)),
        ENDPOINTS: _table(endpoints_of(snapshot)),
        LISTENERS: _table(listeners_of(snapshot)),
        ROUTES: _table(routes_of(snapshot)),
    }
    if snapshot.endpoints is None:
        del tables[ENDPOINTS]  # an Envoy that has endpoints keeps them
    return tables


def _table(messages: Iterable[Message]) -> Table:
    resources = tuple(xds.packed(message) for message in messages)
    digest = hashlib.sha256()
    for resource in resources:
        digest.update(resource.value)
    return Table(version=digest.hexdigest()[:16], resources=resources)

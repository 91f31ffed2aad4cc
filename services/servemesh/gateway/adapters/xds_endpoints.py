"""The endpoints of a snapshot as xDS messages: the workers with what they hold, in one cluster or in several."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

from envoy.config.core.v3 import base_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from google.protobuf import any_pb2, struct_pb2

from servemesh.gateway.adapters import xds_values as xds
from servemesh.gateway.domain.snapshot.cutting import parts_of
from servemesh.gateway.domain.snapshot.values import Address, Endpoint, Snapshot
from servemesh.shards import SHARDS

ACTIVATOR = "activator"


def worker_clusters(count: int) -> tuple[str, ...]:
    """Return the names of the clusters that the workers are cut into."""
    if count == 1:
        return (xds.WORKERS,)
    return tuple(f"{xds.WORKERS}-{number}-of-{count}" for number in range(count))


def endpoints_of(snapshot: Snapshot) -> Iterator[tuple[str, any_pb2.Any]]:
    """Yield for each cluster its workers with what they hold, and the gateways, who answer for what nobody holds."""
    clusters, endpoints = worker_clusters(snapshot.cuts[0]), snapshot.endpoints or ()
    gateways = tuple(sorted(set(snapshot.neighbours.gateways)))
    if len(clusters) == 1:
        yield clusters[0], _packed(clusters[0], endpoints, gateways)
        return
    for cluster, part in zip(clusters, parts_of(endpoints, len(clusters)), strict=True):
        yield cluster, _remembered(cluster, tuple(part), gateways)


def assignment(
    cluster: str, endpoints: Iterable[endpoint_components_pb2.LbEndpoint]
) -> endpoint_pb2.ClusterLoadAssignment:
    """Return the endpoints of a cluster."""
    return endpoint_pb2.ClusterLoadAssignment(
        cluster_name=cluster,
        endpoints=[endpoint_components_pb2.LocalityLbEndpoints(lb_endpoints=endpoints)],
    )


def endpoint_at(address: Address) -> endpoint_components_pb2.LbEndpoint:
    """Return an endpoint of which there is nothing to say."""
    return endpoint_components_pb2.LbEndpoint(
        endpoint=endpoint_components_pb2.Endpoint(address=xds.socket_address(address))
    )


def _packed(cluster: str, workers: tuple[Endpoint, ...], gateways: tuple[Address, ...]) -> any_pb2.Any:
    activators = [_tagged(endpoint_at(address), {"role": [ACTIVATOR]}) for address in gateways]
    if cluster != xds.WORKERS:
        # Every cluster would check them; calls and pings find those that hang, too.
        for activator in activators:
            activator.endpoint.health_check_config.disable_active_health_check = True
    return xds.packed(assignment(cluster, [*map(_worker, workers), *activators]))


# Of many clusters a change concerns few.
_remembered = lru_cache(maxsize=2 * SHARDS)(_packed)


def _worker(endpoint: Endpoint) -> endpoint_components_pb2.LbEndpoint:
    held = {"model": list(endpoint.models), "slot": list(endpoint.slots)}
    return _tagged(endpoint_at(endpoint.address), {key: names for key, names in held.items() if names})


def _tagged(
    endpoint: endpoint_components_pb2.LbEndpoint, tags: dict[str, list[str]]
) -> endpoint_components_pb2.LbEndpoint:
    if tags:
        struct = struct_pb2.Struct()
        struct.update(tags)
        endpoint.metadata.CopyFrom(base_pb2.Metadata(filter_metadata={xds.LB: struct}))
    return endpoint

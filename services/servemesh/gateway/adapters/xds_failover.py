"""Services that stand more than once: how the edge finds the ones that answer, and whom it asks first."""

from __future__ import annotations

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import health_check_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2

from servemesh.gateway.adapters import xds_values as xds
from servemesh.gateway.domain.snapshot.policy import EdgePolicy


def health_check(policy: EdgePolicy) -> health_check_pb2.HealthCheck:
    """Return the question whether a process serves, by grpc.health.v1."""
    health = policy.health
    interval = xds.seconds(health.check_interval_s)
    return health_check_pb2.HealthCheck(
        timeout=xds.seconds(health.check_timeout_s),
        interval=interval,
        no_traffic_interval=interval,
        no_traffic_healthy_interval=interval,
        unhealthy_threshold=xds.number(health.unhealthy_after),
        healthy_threshold=xds.number(health.healthy_after),
        grpc_health_check=health_check_pb2.HealthCheck.GrpcHealthCheck(),
    )


def watched(cluster: cluster_pb2.Cluster, policy: EdgePolicy) -> cluster_pb2.Cluster:
    """Return the cluster; where it has several endpoints, calls go only to those that say that they serve."""
    if sum(len(group.lb_endpoints) for group in cluster.load_assignment.endpoints) > 1:
        cluster.health_checks.append(health_check(policy))
        cluster.common_lb_config.healthy_panic_threshold.value = 0
    return cluster


def in_order(cluster: cluster_pb2.Cluster, policy: EdgePolicy) -> cluster_pb2.Cluster:
    """Return the cluster; calls go to its first endpoint, and to the next while that one does not serve.

    So calls that build on each other, as those of an Upload do, meet one process, whoever sends them.
    """
    watched(cluster, policy)
    groups = cluster.load_assignment.endpoints
    endpoints = [endpoint for group in groups for endpoint in group.lb_endpoints]
    del groups[:]
    groups.extend(
        endpoint_components_pb2.LocalityLbEndpoints(lb_endpoints=[endpoint], priority=priority)
        for priority, endpoint in enumerate(endpoints)
    )
    return cluster

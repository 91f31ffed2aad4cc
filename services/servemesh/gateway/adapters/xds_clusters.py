"""Clusters and endpoints of a snapshot as xDS messages."""

from __future__ import annotations

from collections.abc import Iterable

from envoy.config.cluster.v3 import circuit_breaker_pb2, cluster_pb2
from envoy.config.core.v3 import config_source_pb2
from google.protobuf import struct_pb2

from servemesh.gateway.adapters import xds_failover
from servemesh.gateway.adapters import xds_values as xds
from servemesh.gateway.adapters.xds_endpoints import ACTIVATOR, assignment, endpoint_at, worker_clusters
from servemesh.gateway.adapters.xds_outliers import outlier_detection
from servemesh.gateway.adapters.xds_verdicts import reading_filters
from servemesh.gateway.domain.snapshot.policy import EdgePolicy
from servemesh.gateway.domain.snapshot.values import Address, Collector, Snapshot

FETCH_TIMEOUT_S = 1.0
CUT_MERGE_S = 0.1
"""Of a cluster with hundreds of names each news costs milliseconds: those that follow within this time are one."""
EXPORTS_MAX = 4
EXPORT_CONNECT_S = 1.0
EXPORT_PING_S = 5.0


def clusters_of(snapshot: Snapshot) -> list[cluster_pb2.Cluster]:
    """Return every cluster; only the endpoints of the workers come separately."""
    policy, neighbours = snapshot.policy, snapshot.neighbours
    streams_window_bytes = policy.connections.gateway_window_bytes
    gateways = _service(xds.GATEWAY, neighbours.gateways, policy, streams_window_bytes)
    clusters = [
        *(_workers(name, policy) for name in worker_clusters(snapshot.cuts[0])),
        xds_failover.watched(gateways, policy),
        xds_failover.in_order(_service(xds.REGISTRY, neighbours.registries, policy), policy),
    ]
    if neighbours.optimizers:
        clusters.append(_service(xds.OPTIMIZER, neighbours.optimizers, policy))
    if neighbours.metrics_services:
        clusters.append(_service(xds.METRICS, neighbours.metrics_services, policy))
    if neighbours.trace_collector is not None:
        clusters.append(collector_cluster(xds.TRACES, neighbours.trace_collector))
    return clusters


def _workers(name: str, policy: EdgePolicy) -> cluster_pb2.Cluster:
    health = policy.health
    cluster = cluster_pb2.Cluster(
        name=name,
        type=cluster_pb2.Cluster.EDS,
        eds_cluster_config=cluster_pb2.Cluster.EdsClusterConfig(eds_config=from_ads()),
        lb_policy=cluster_pb2.Cluster.LEAST_REQUEST,
        # Of two, both may be the slow one in a small mesh; and looking at all is too much in a large one.
        least_request_lb_config=cluster_pb2.Cluster.LeastRequestLbConfig(
            choice_count=xds.number(policy.capacity.choices)
        ),
        connect_timeout=xds.seconds(health.connect_timeout_s),
        per_connection_buffer_limit_bytes=xds.number(policy.connections.buffer_bytes),
        lb_subset_config=_subsets(),
        health_checks=[xds_failover.health_check(policy)],
        outlier_detection=outlier_detection(policy),
        circuit_breakers=_circuit_breakers(policy),
        # An endpoint that the gateway took out is gone, healthy or not; its calls are finished.
        ignore_health_on_host_removal=True,
        typed_extension_protocol_options=xds.http2_upstream(
            ping_interval_s=health.ping_interval_s,
            ping_timeout_s=health.ping_timeout_s,
            filters=reading_filters(),
        ),
    )
    # In a small mesh Envoy's panic mode sends calls to the dead; its merge window keeps all but the first news waiting.
    cluster.common_lb_config.healthy_panic_threshold.value = 0
    merge_s = 0.0 if name == xds.WORKERS else CUT_MERGE_S
    cluster.common_lb_config.update_merge_window.CopyFrom(xds.seconds(merge_s))
    return cluster


def _subsets() -> cluster_pb2.Cluster.LbSubsetConfig:
    config = cluster_pb2.Cluster.LbSubsetConfig
    return config(
        fallback_policy=config.DEFAULT_SUBSET,
        default_subset=_activators(),
        subset_selectors=[config.LbSubsetSelector(keys=["model"]), config.LbSubsetSelector(keys=["slot"])],
        list_as_any=True,
    )


def _activators() -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update({"role": ACTIVATOR})
    return struct


def _circuit_breakers(policy: EdgePolicy) -> circuit_breaker_pb2.CircuitBreakers:
    capacity, retries = policy.capacity, policy.retries
    thresholds = circuit_breaker_pb2.CircuitBreakers.Thresholds(
        max_connections=xds.number(capacity.connections_max),
        max_pending_requests=xds.number(capacity.pending_max),
        max_requests=xds.number(capacity.requests_max),
    )
    thresholds.retry_budget.budget_percent.value = retries.budget_percent
    thresholds.retry_budget.min_retry_concurrency.value = retries.budget_floor
    return circuit_breaker_pb2.CircuitBreakers(thresholds=[thresholds])


def _service(
    name: str, addresses: Iterable[Address], policy: EdgePolicy, window_bytes: int = xds.WINDOW_BYTES
) -> cluster_pb2.Cluster:
    health = policy.health
    return cluster_pb2.Cluster(
        name=name,
        type=cluster_pb2.Cluster.STRICT_DNS,
        lb_policy=cluster_pb2.Cluster.LEAST_REQUEST,
        connect_timeout=xds.seconds(health.connect_timeout_s),
        per_connection_buffer_limit_bytes=xds.number(policy.connections.buffer_bytes),
        circuit_breakers=_circuit_breakers(policy),
        typed_extension_protocol_options=xds.http2_upstream(
            ping_interval_s=health.ping_interval_s,
            ping_timeout_s=health.ping_timeout_s,
            window_bytes=window_bytes,
        ),
        load_assignment=assignment(name, map(endpoint_at, dict.fromkeys(addresses))),
    )


def collector_cluster(name: str, collector: Collector) -> cluster_pb2.Cluster:
    """Return the cluster of who takes spans or statistics; one that answers nothing holds no more than a few."""
    exports_max = xds.number(EXPORTS_MAX)
    thresholds = circuit_breaker_pb2.CircuitBreakers.Thresholds(
        max_connections=exports_max, max_pending_requests=exports_max, max_requests=exports_max
    )
    return cluster_pb2.Cluster(
        name=name,
        type=cluster_pb2.Cluster.STRICT_DNS,
        connect_timeout=xds.seconds(EXPORT_CONNECT_S),
        circuit_breakers=circuit_breaker_pb2.CircuitBreakers(thresholds=[thresholds]),
        typed_extension_protocol_options=xds.http2_upstream(
            ping_interval_s=EXPORT_PING_S, ping_timeout_s=EXPORT_PING_S
        ),
        load_assignment=assignment(name, [endpoint_at(collector.address)]),
    )


def from_ads(wait_s: float = FETCH_TIMEOUT_S) -> config_source_pb2.ConfigSource:
    """Return "over the one stream that everything comes by". Envoy opens for calls once all of it has come,
    or after this wait: then its own last known tables can be asked for.
    """
    return config_source_pb2.ConfigSource(
        ads=config_source_pb2.AggregatedConfigSource(),
        resource_api_version=config_source_pb2.ApiVersion.V3,
        initial_fetch_timeout=xds.seconds(wait_s),
    )

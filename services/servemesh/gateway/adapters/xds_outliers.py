"""When Envoy takes a worker out of its choice for a while, as xDS messages."""

from __future__ import annotations

from envoy.config.cluster.v3 import outlier_detection_pb2

from servemesh.gateway.adapters import xds_values as xds
from servemesh.gateway.domain.snapshot.policy import EdgePolicy


def outlier_detection(policy: EdgePolicy) -> outlier_detection_pb2.OutlierDetection:
    """Return how many failures in a row have a worker ejected, and for how long.

    Two kinds count: what Envoy meets itself (connections refused, calls cut off), and answers whose status HTTP has
    a 5xx for. What a worker of sound mind has to tell a caller is not among them, or one caller could have every
    worker ejected, by calls that cannot be in time or by one bad model: such an answer comes with another status,
    and the routes put the real one back (see rpc.edge).
    """
    health = policy.health
    return outlier_detection_pb2.OutlierDetection(
        split_external_local_origin_errors=True,
        consecutive_local_origin_failure=xds.number(health.eject_after_failures),
        enforcing_consecutive_local_origin_failure=xds.number(100),
        consecutive_5xx=xds.number(health.eject_after_failures),
        enforcing_consecutive_5xx=xds.number(100),
        enforcing_consecutive_gateway_failure=xds.number(0),
        enforcing_local_origin_success_rate=xds.number(0),
        enforcing_success_rate=xds.number(0),
        interval=xds.seconds(health.eject_interval_s),
        base_ejection_time=xds.seconds(health.ejection_s),
        max_ejection_time=xds.seconds(health.ejection_max_s),
        max_ejection_percent=xds.number(health.ejection_percent_max),
        # A worker that fails every call may well answer health checks.
        successful_active_health_check_uneject_host=xds.flag(False),
    )

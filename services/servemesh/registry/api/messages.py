"""Models, Aliases and Deployments as messages of the registry's API, and back."""

from __future__ import annotations

from datetime import datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from servemesh import names
from servemesh.api.registry.v1 import registry_pb2 as pb
from servemesh.registry.domain.aliases import Alias, AliasMove
from servemesh.registry.domain.batching import BatchingPolicy
from servemesh.registry.domain.deployments import TrafficTarget
from servemesh.registry.domain.models import Model
from servemesh.registry.domain.observing import DeploymentState, ObservedDeployment

_DEPLOYMENT_STATES = {
    DeploymentState.PENDING: pb.Deployment.STATE_PENDING,
    DeploymentState.READY: pb.Deployment.STATE_READY,
    DeploymentState.FAILED: pb.Deployment.STATE_FAILED,
}


def to_time(moment: datetime) -> Timestamp:
    """The message for a moment."""
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp


def to_duration(length_s: float) -> Duration:
    """The message for a span of time."""
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=length_s))
    return duration


def to_model(model: Model) -> pb.Model:
    """The message for a Model."""
    return pb.Model(
        name=model.name,
        description=model.description,
        labels=dict(model.labels),
        latest_version_id=model.latest_version_id,
        create_time=to_time(model.create_time),
        update_time=to_time(model.update_time),
        etag=model.etag,
    )


def to_alias(alias: Alias) -> pb.Alias:
    """The message for an Alias; one of the past has no etag."""
    return pb.Alias(
        name=alias.name,
        version=alias.version,
        update_time=to_time(alias.update_time),
        etag=alias.etag if alias.revision else "",
    )


def to_alias_move(move: AliasMove) -> pb.AliasMove:
    """The message for a move."""
    version = names.version(move.model_id, move.version_id) if move.version_id is not None else ""
    return pb.AliasMove(version=version, move_time=to_time(move.move_time))


def to_batching(batching: BatchingPolicy) -> pb.BatchingPolicy:
    """The message for a policy."""
    return pb.BatchingPolicy(
        batch_rows_max=batching.batch_rows_max,
        linger=to_duration(batching.linger_s),
        queue_rows_max=batching.queue_rows_max,
    )


def from_batching(batching: pb.BatchingPolicy) -> BatchingPolicy:
    """The policy in a message."""
    return BatchingPolicy(
        batch_rows_max=batching.batch_rows_max,
        linger_s=batching.linger.seconds + batching.linger.nanos / 1e9,
        queue_rows_max=batching.queue_rows_max,
    )


def from_traffic(deployment: pb.Deployment) -> tuple[TrafficTarget, ...]:
    """The targets in a message."""
    return tuple(
        TrafficTarget(target=target.target, weight_percent=target.weight_percent)
        for target in deployment.traffic
    )


def to_deployment(deployment: ObservedDeployment) -> pb.Deployment:
    """The message for a Deployment with what has come of it."""
    wish, observation = deployment.wish, deployment.observation
    return pb.Deployment(
        name=wish.name,
        model=names.model(wish.model_id),
        traffic=[
            pb.TrafficTarget(target=target.target, weight_percent=target.weight_percent)
            for target in wish.traffic
        ],
        replicas=wish.replicas,
        batching=to_batching(wish.batching),
        state=_DEPLOYMENT_STATES[observation.state],
        ready_replicas=observation.ready_replicas,
        reason=observation.reason,
        message=observation.message,
        create_time=to_time(wish.create_time),
        update_time=to_time(wish.update_time),
        etag=wish.etag,
        serving=[
            pb.TrafficTarget(
                target=names.version(wish.model_id, share.version_id), weight_percent=share.weight_percent
            )
            for share in wish.serving
        ],
    )

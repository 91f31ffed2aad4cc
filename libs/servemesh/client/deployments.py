"""Operations on deployments, and the state of the whole mesh."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from servemesh import names
from servemesh.api.fleet.v1 import fleet_pb2
from servemesh.api.oip.v2 import inference_pb2 as oip
from servemesh.api.registry.v1 import registry_pb2 as pb
from servemesh.client import models, parsing, results
from servemesh.client.steps import Call, Operation, Pause
from servemesh.errors import ConflictError, ExistsError, ExpiredError, MissingError, UnavailableError

POLL_S_MIN, POLL_S_MAX = 0.01, 0.5
POLL_SHARE = 0.05  # of the time waited so far: what asking again costs whoever waits, at most


def deploy(
    model_id: str, version: str | int, replicas: int | None, wait_s: float, now_s: Callable[[], float]
) -> Operation[results.Deployment]:
    """Have a Model served, or change how it is; wait for it if `wait_s` is not 0."""
    until_s = now_s() + wait_s
    wish = pb.Deployment(name=names.deployment(model_id), model=names.model(model_id), replicas=replicas)
    if version:
        wish.traffic.add(target=models.target_name(model_id, version), weight_percent=100)
    try:
        request = pb.CreateDeploymentRequest(deployment=wish, request_id=str(uuid.uuid4()))
        found = (yield Call(request=request)).deployment
    except ExistsError:
        found = yield from _changed(wish)
    if wait_s:
        found = yield from _served(found.name, model_id, until_s, now_s)
    return parsing.deployment(found)


def undeploy(model_id: str) -> Operation[None]:
    """Have a Model served no more."""
    yield Call(request=pb.DeleteDeploymentRequest(name=names.deployment(model_id)))


def deployments() -> Operation[list[results.Deployment]]:
    """Return every Deployment, by name."""
    return (
        yield from models.pages(
            lambda: pb.ListDeploymentsRequest(page_size=models.PAGE_SIZE), "deployments", parsing.deployment
        )
    )


def status() -> Operation[results.Status]:
    """Return how the mesh is; parts that are away are named, not raised."""
    away: list[str] = []
    ready, server = yield from _or_away(_server(), "gateway", (False, oip.ServerMetadataResponse()), away)
    workers, wishes = yield from _or_away(_fleet(), "registry", ([], []), away)
    return results.Status(
        ready=ready,
        server=server.name,
        server_version=server.version,
        workers=tuple(workers),
        deployments=tuple(wishes),
        away=tuple(away),
    )


def statistics() -> Operation[list[results.Statistics]]:
    """Return what every Version has done since the mesh saw it first."""
    answer = yield Call(request=oip.ModelStatisticsRequest())
    return [parsing.statistics(found) for found in answer.model_stats]


def _changed(wish: pb.Deployment) -> Operation[pb.Deployment]:
    if not wish.traffic:
        newest = (yield from models.model(names.deployment_id(wish.name))).latest_version
        target = models.target_name(names.model_id(wish.model), newest)
        wish.traffic.add(target=target, weight_percent=100)
    paths = ["traffic", *(["replicas"] if wish.HasField("replicas") else [])]
    request = pb.UpdateDeploymentRequest(deployment=wish, update_mask=FieldMask(paths=paths))
    found: pb.Deployment = (yield Call(request=request)).deployment
    return found


def _served(name: str, model_id: str, until_s: float, now_s: Callable[[], float]) -> Operation[pb.Deployment]:
    """Wait until every replica is READY and the gateway routes to them."""
    start_s = now_s()
    while True:
        found: pb.Deployment = (yield Call(request=pb.GetDeploymentRequest(name=name))).deployment
        if found.state == pb.Deployment.STATE_FAILED:
            raise ConflictError(
                f"{model_id} cannot be served: {found.message}",
                reason=found.reason or "DEPLOYMENT_FAILED",
                name=name,
            )
        if found.state == pb.Deployment.STATE_READY and (yield from _routed(model_id)):
            return found
        if now_s() >= until_s:
            state = pb.Deployment.State.Name(found.state).removeprefix("STATE_")
            raise ExpiredError(
                f"{model_id} is {state} with {found.ready_replicas} ready replicas when the time to wait is "
                "over; it goes on in the background, see `servemesh status`",
                reason="DEPLOYMENT_PENDING",
                name=name,
            )
        yield Pause(pause_s=min(max(POLL_SHARE * (now_s() - start_s), POLL_S_MIN), POLL_S_MAX))


def _routed(model_id: str) -> Operation[bool]:
    try:
        answer = yield Call(request=oip.ModelReadyRequest(name=model_id))
    except (MissingError, UnavailableError):
        return False
    return bool(answer.ready)


def _server() -> Operation[tuple[bool, oip.ServerMetadataResponse]]:
    ready = (yield Call(request=oip.ServerReadyRequest())).ready
    server = yield Call(request=oip.ServerMetadataRequest())
    return bool(ready), server


def _fleet() -> Operation[tuple[list[results.Worker], list[results.Deployment]]]:
    workers = yield from models.pages(
        lambda: fleet_pb2.ListWorkersRequest(page_size=models.PAGE_SIZE), "workers", parsing.worker
    )
    return workers, (yield from deployments())


def _or_away(operation: Operation[Any], part: str, otherwise: Any, away: list[str]) -> Operation[Any]:
    try:
        return (yield from operation)
    except (UnavailableError, ExpiredError):
        away.append(part)
        return otherwise

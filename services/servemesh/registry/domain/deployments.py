"""Deployments: the wish that a Model be served, and which Versions answer while the wish comes true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from servemesh import names
from servemesh.errors import ConflictError, InvalidError
from servemesh.registry.domain.batching import DEFAULTS, BatchingPolicy
from servemesh.registry.domain.limits import Limits

REPLICAS_DEFAULT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficTarget:
    """A share of the calls that name no version; `target` is the name of a Version or of an Alias."""

    target: str
    weight_percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A Version that answers calls which name none, with its share of them."""

    version_id: int
    weight_percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A wish; `serving` is what answers now and stays behind `traffic` until a new Version is READY."""

    model_id: str
    traffic: tuple[TrafficTarget, ...]
    replicas: int | None = None
    batching: BatchingPolicy = DEFAULTS
    serving: tuple[Share, ...] = ()
    create_time: datetime
    update_time: datetime
    revision: int

    @property
    def name(self) -> str:
        """`deployments/{model}`."""
        return names.deployment(self.model_id)

    @property
    def etag(self) -> str:
        """Changes with every change of the wish."""
        return str(self.revision)

    def replicas_wanted(self, workers: int) -> int:
        """Workers that should hold each Version when that many are there."""
        if self.replicas is not None:
            return self.replicas
        return min(REPLICAS_DEFAULT, max(1, workers))

    def points_to_alias(self, alias_name: str) -> bool:
        """Whether the traffic follows that Alias."""
        return any(target.target == alias_name for target in self.traffic)

    def points_to_version(self, model_id: str, version_id: int) -> bool:
        """Whether the traffic names that Version, or it still answers."""
        name = names.version(model_id, version_id)
        return any(target.target == name for target in self.traffic) or any(
            share.version_id == version_id for share in self.serving
        )


def check_traffic(model_id: str, traffic: Sequence[TrafficTarget], limits: Limits) -> None:
    """InvalidError unless every target belongs to the Model and the shares add up to 100."""
    if len(traffic) > limits.traffic_max:
        raise _bad("deployment.traffic", f"at most {limits.traffic_max} targets", f"{len(traffic)} targets")
    for index, target in enumerate(traffic):
        field = f"deployment.traffic[{index}]"
        if not 0 <= target.weight_percent <= 100:
            raise _bad(f"{field}.weight_percent", "0 to 100", str(target.weight_percent))
        if _model_of(target.target) != model_id:
            expected = f"a version or an alias of {names.model(model_id)}"
            raise _bad(f"{field}.target", expected, repr(target.target[:200]))
    total = sum(target.weight_percent for target in traffic)
    if traffic and total != 100:
        raise _bad("deployment.traffic", "shares that add up to 100", f"a sum of {total}")
    if len({target.target for target in traffic}) != len(traffic):
        raise _bad("deployment.traffic", "each target once", "one target twice")


def check_replicas(replicas: int | None, limits: Limits) -> None:
    """InvalidError if the number is out of its range."""
    if replicas is not None and not 0 <= replicas <= limits.replicas_max:
        raise _bad("deployment.replicas", f"0 to {limits.replicas_max}", str(replicas))


def shares(traffic: Sequence[TrafficTarget], aliases: Mapping[str, int]) -> tuple[Share, ...]:
    """The Versions that `traffic` means now, each once; ConflictError if an Alias of it is missing."""
    weights: dict[int, int] = {}
    for target in traffic:
        version_id = target_version(target.target, aliases)
        weights[version_id] = weights.get(version_id, 0) + target.weight_percent
    return tuple(Share(version_id=key, weight_percent=weight) for key, weight in weights.items())


def target_version(target: str, aliases: Mapping[str, int]) -> int:
    """The Version that a target names or its Alias points to."""
    if names.is_version(target):
        return names.version_ids(target)[1]
    alias_id = names.alias_ids(target)[1]
    if alias_id not in aliases:
        raise ConflictError(f"{target} does not exist", reason="TARGET_MISSING", target=target)
    return aliases[alias_id]


def default_version(serving: Sequence[Share]) -> int | None:
    """The Version with the largest share, the newest of equals."""
    largest = max(serving, key=lambda share: (share.weight_percent, share.version_id), default=None)
    return largest.version_id if largest is not None else None


def next_serving(
    serving: tuple[Share, ...], wanted: tuple[Share, ...], ready: Mapping[int, int], needed: int
) -> tuple[Share, ...]:
    """What answers next: the old Versions go on until every wanted one has `needed` READY replicas.

    With no old Version READY there is nothing to protect, and the wish holds at once.
    """
    old = {share.version_id for share in serving}
    new = {share.version_id for share in wanted} - old
    if not new or all(ready.get(version_id, 0) >= needed for version_id in new):
        return wanted
    if not any(ready.get(version_id, 0) > 0 for version_id in old):
        return wanted
    return serving


def _model_of(target: str) -> str | None:
    if names.is_version(target):
        return names.version_ids(target)[0]
    if names.is_alias(target):
        return names.alias_ids(target)[0]
    return None


def _bad(field: str, expected: str, got: str) -> InvalidError:
    return InvalidError(
        f"{field} is {got}, expected {expected}",
        reason="DEPLOYMENT_MALFORMED",
        field=field,
        expected=expected,
        got=got,
    )

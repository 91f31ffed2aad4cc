"""What one Envoy asked for and what it was told: the state of one ADS stream, without the stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2

from servemesh.gateway.adapters.xds_messages import CLUSTERS, ENDPOINTS, ROUTES, Table, Tables, is_cut

Request: TypeAlias = discovery_pb2.DiscoveryRequest
Response: TypeAlias = discovery_pb2.DiscoveryResponse
Resources: TypeAlias = Mapping[str, any_pb2.Any]

PARTING_S = 10.0
"""Clusters that are no more stay so long: calls go there until Envoy has checked the workers of the new ones."""


@dataclass(slots=True, kw_only=True)
class _Subscription:
    names: frozenset[str] = frozenset()
    nonce: str = ""
    sent: str | None = None  # version of the last answer
    is_due: bool = True  # an answer is owed even if nothing changed
    told: dict[str, any_pb2.Any] = field(default_factory=dict)  # what Envoy has


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Envoy did not take a table."""

    type_url: str
    version: str
    reason: str


@dataclass(slots=True)
class Subscriptions:
    """State of the world per type; of endpoints only what changed, as xDS allows. Answers are given in the order of
    the tables: clusters first, routes last, and at the very end the clusters that are left out.
    """

    _by_type: dict[str, _Subscription] = field(default_factory=dict)
    _nonces: int = 0
    _works_cut: bool = False
    _parting_until_s: float | None = None

    def received(self, request: Request, tables: Tables) -> Refusal | None:
        """Take note of a request, an acknowledgement or a refusal; return the refusal."""
        if (
            request.type_url not in tables
            and request.type_url not in self._by_type
            and len(self._by_type) > 16
        ):
            return None  # nobody needs that many unknown types
        known = self._by_type.get(request.type_url)
        names = frozenset(request.resource_names)
        if known is None:
            self._by_type[request.type_url] = _Subscription(names=names)
            self._works_cut |= request.type_url == CLUSTERS and is_cut(request.version_info)
        elif request.response_nonce != known.nonce and request.response_nonce:
            return None  # about an answer that a newer one has overtaken
        elif names != known.names:
            known.names, known.is_due = names, True
            known.told = {name: told for name, told in known.told.items() if name in names}
        if request.HasField("error_detail"):
            return Refusal(
                type_url=request.type_url,
                version=known.sent or "" if known else "",
                reason=request.error_detail.message,
            )
        return None

    def due(self, tables: Tables, *, now: float) -> Iterator[Response]:
        """Yield what has to be told now."""
        for type_url, table in tables.items():
            subscription = self._by_type.get(type_url)
            if subscription is None or self._is_held_back(type_url, tables):
                continue
            if subscription.is_due or table.version != subscription.sent or self._is_parted(type_url, now):
                yield self._answer(type_url, table, subscription, now)

    def due_in_s(self, *, now: float) -> float | None:
        """Return when something will be due although nothing changes; None if nothing will."""
        return None if self._parting_until_s is None else max(0.0, self._parting_until_s - now)

    def _is_held_back(self, type_url: str, tables: Tables) -> bool:
        """Who knows no fleet cannot know the clusters that it is cut into: an Envoy that has them keeps them."""
        return self._works_cut and ENDPOINTS not in tables and type_url in (CLUSTERS, ROUTES)

    def _is_parted(self, type_url: str, now: float) -> bool:
        return type_url == CLUSTERS and self._parting_until_s is not None and now >= self._parting_until_s

    def _answer(self, type_url: str, table: Table, subscription: _Subscription, now: float) -> Response:
        resources = table.resources
        if type_url == CLUSTERS:
            resources = self._with_parting(table, subscription, now)
        elif type_url == ENDPOINTS:
            resources = _news(table, subscription)
        self._nonces += 1
        subscription.nonce, subscription.sent, subscription.is_due = (
            str(self._nonces),
            table.version,
            False,
        )
        return Response(
            version_info=table.version,
            resources=resources.values(),
            type_url=type_url,
            nonce=subscription.nonce,
        )

    def _with_parting(self, table: Table, subscription: _Subscription, now: float) -> Resources:
        parting = {name: told for name, told in subscription.told.items() if name not in table.resources}
        if not parting or self._is_parted(CLUSTERS, now):
            self._parting_until_s, parting = None, {}
        elif self._parting_until_s is None or table.version != subscription.sent:
            self._parting_until_s = now + PARTING_S
        subscription.told = {**table.resources, **parting}
        endpoints = self._by_type.get(ENDPOINTS)
        if endpoints is not None and table.version != subscription.sent:
            endpoints.told, endpoints.is_due = {}, True  # a cluster that is made anew asks for them again
        return subscription.told


def _news(table: Table, subscription: _Subscription) -> Resources:
    news = {
        name: resource
        for name, resource in table.resources.items()
        if (not subscription.names or name in subscription.names) and subscription.told.get(name) != resource
    }
    subscription.told.update(news)
    return news

"""What one Envoy asked for and what it was told: the state of one ADS stream, without the stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from envoy.service.discovery.v3 import discovery_pb2

from servemesh.gateway.adapters.xds_messages import Tables

Request: TypeAlias = discovery_pb2.DiscoveryRequest
Response: TypeAlias = discovery_pb2.DiscoveryResponse


@dataclass(slots=True, kw_only=True)
class _Subscription:
    names: frozenset[str] = frozenset()
    nonce: str = ""
    sent: str | None = None  # version and names of the last answer
    is_due: bool = True  # an answer is owed even if nothing changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Envoy did not take a table."""

    type_url: str
    version: str
    reason: str


@dataclass(slots=True)
class Subscriptions:
    """State of the world per type. Answers are given in the order of the tables: clusters first, routes last."""

    _by_type: dict[str, _Subscription] = field(default_factory=dict)
    _nonces: int = 0

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
        elif request.response_nonce != known.nonce and request.response_nonce:
            return None  # about an answer that a newer one has overtaken
        elif names != known.names:
            known.names, known.is_due = names, True
        if request.HasField("error_detail"):
            return Refusal(
                type_url=request.type_url,
                version=known.sent or "" if known else "",
                reason=request.error_detail.message,
            )
        return None

    def due(self, tables: Tables) -> Iterator[Response]:
        """Yield what has to be told now."""
        for type_url, table in tables.items():
            subscription = self._by_type.get(type_url)
            if subscription is None or (table.version == subscription.sent and not subscription.is_due):
                continue
            self._nonces += 1
            subscription.nonce, subscription.sent, subscription.is_due = (
                str(self._nonces),
                table.version,
                False,
            )
            yield Response(
                version_info=table.version,
                resources=table.resources,
                type_url=type_url,
                nonce=subscription.nonce,
            )

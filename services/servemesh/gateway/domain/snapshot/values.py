"""A snapshot of the edge: listener, routes, clusters and endpoints, comparable and cheap to make."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from servemesh.errors import InvalidError
from servemesh.gateway.domain.snapshot.policy import EdgePolicy

OTLP_PORT = 4317


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Address:
    """Where something listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """Who takes spans and statistics: OTLP over gRPC, as our own processes send it."""

    address: Address


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Endpoint:
    """A worker that may be called, and for what: empty lists mean that it is only watched for now."""

    address: Address
    models: tuple[str, ...] = ()  # calls that name no version
    slots: tuple[str, ...] = ()  # "model/3" and "model/prod"
    coming: tuple[str, ...] = ()  # models of slots that take no calls yet


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Split:
    """Shares of the calls for a model that name no version."""

    model: str
    slots: tuple[str, ...]  # "model/3" or "model/prod"
    up_to_percent: tuple[int, ...]  # running sums of the shares; the last is 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """The addresses that do not come from the fleet."""

    edge: Address  # what the edge listens on
    gateways: tuple[Address, ...]  # who answers for the mesh and activates
    registries: tuple[Address, ...]
    optimizers: tuple[Address, ...] = ()
    metrics_services: tuple[Address, ...] = ()
    trace_collector: Collector | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything the edge shall do at one moment."""

    neighbours: Neighbours
    policy: EdgePolicy = field(default_factory=EdgePolicy)
    endpoints: tuple[Endpoint, ...] | None = ()  # None while nothing is known of the fleet
    splits: tuple[Split, ...] = ()
    # Into how many clusters the workers are cut; then how many they were cut into before, if that was another number.
    cuts: tuple[int, ...] = (1,)


def collector_at(endpoint: str) -> Collector | None:
    """Return the collector at "http://host:4317"; None if the edge cannot send there.

    Over https it cannot: it would have to trust authorities that only its own machine knows.
    """
    parts = urlsplit(endpoint)
    if parts.scheme != "http" or not parts.hostname:
        return None
    return Collector(address=Address(host=parts.hostname, port=parts.port or OTLP_PORT))


def parse_address(text: str) -> Address:
    """Read `host:port` or `[host]:port`; InvalidError if it is neither."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise InvalidError(
            f"address is {text[:200]!r}, expected host:port with a port from 0 to 65535",
            reason="ADDRESS_MALFORMED",
            field="address",
            got=text[:200],
            expected="host:port",
        )
    return Address(host=host, port=int(port))

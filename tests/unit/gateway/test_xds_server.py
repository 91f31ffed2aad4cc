"""The ADS server beside a connection that ends whenever it likes."""

from __future__ import annotations

from collections.abc import AsyncIterator

from envoy.service.discovery.v3 import discovery_pb2

from servemesh.gateway.adapters.xds_server import XdsServer
from servemesh.gateway.service.publication import Publication


class ShortContext:
    """A call whose connection is gone once its peer was asked for: asking again would crash the process."""

    def __init__(self) -> None:
        self.asked = 0

    def peer(self) -> str:
        self.asked += 1
        return "ipv4:127.0.0.1:1"


async def test_the_peer_of_a_stream_is_asked_for_only_while_it_is_there() -> None:
    async def requests() -> AsyncIterator[discovery_pb2.DiscoveryRequest]:
        return
        yield

    context = ShortContext()
    async for _ in XdsServer(Publication()).StreamAggregatedResources(requests(), context):
        pass
    assert context.asked == 1

"""The gateways' addresses as numbers: where the edge keeps them among the workers, it looks up no names."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from servemesh.gateway.domain.snapshot.values import Address, Neighbours, parse_address
from servemesh.observe import names

LOOKUP_INTERVAL_S = 5.0

Hosts = Callable[[str, int], Awaitable[Sequence[str]]]

_log = logging.getLogger(__name__)


async def hosts_of(host: str, port: int) -> Sequence[str]:
    """Return the addresses that a name stands for now, of the family that this machine prefers; OSError if none."""
    try:
        answers = await asyncio.get_running_loop().getaddrinfo(host, port)
    except UnicodeError as error:  # what cannot be a name
        raise OSError(str(error)) from error
    return [str(place[0]) for family, _, _, _, place in answers if family == answers[0][0]]


class AddressBook:
    """Looks names up. One may stand for several gateways; what was found last counts while there is no answer."""

    def __init__(self, addresses: Sequence[str], *, hosts: Hosts = hosts_of) -> None:
        self._addresses = tuple(parse_address(text) for text in addresses)
        self._hosts = hosts
        self._found: dict[Address, tuple[Address, ...]] = {}

    async def look_up(self) -> tuple[Address, ...]:
        """Return every address that is known now."""
        for name in self._addresses:
            try:
                hosts = await self._hosts(name.host, name.port)
            except OSError:
                continue
            self._found[name] = tuple(Address(host=host, port=name.port) for host in hosts)
        return tuple(sorted({address for found in self._found.values() for address in found}))


class GatewayWatch:
    """Looks again and again: a gateway that was started anew elsewhere is found under its name."""

    def __init__(
        self,
        book: AddressBook,
        neighbours: Neighbours,
        moved: Callable[[Neighbours], None],
        *,
        interval_s: float = LOOKUP_INTERVAL_S,
    ) -> None:
        self._book = book
        self._neighbours = neighbours
        self._moved = moved
        self._interval_s = interval_s

    async def run(self) -> None:
        """Tell `moved` whenever the gateways have other addresses, for ever."""
        while True:
            await asyncio.sleep(self._interval_s)
            found = await self._book.look_up()
            if found != self._neighbours.gateways:
                self._neighbours = replace(self._neighbours, gateways=found)
                _log.info(names.GATEWAYS_MOVED, extra={"gateways": [str(address) for address in found]})
                self._moved(self._neighbours)

"""The gateways are looked up by name, again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from servemesh.gateway.adapters.address_book import AddressBook, GatewayWatch, hosts_of
from servemesh.gateway.domain.snapshot.values import Address, Neighbours
from servemesh.lifecycle import background
from tests.harness.fleets import neighbours


class Names:
    """A directory of names."""

    def __init__(self, **hosts: Sequence[str]) -> None:
        self.hosts = hosts

    async def look_up(self, host: str, port: int) -> Sequence[str]:
        if host not in self.hosts:
            raise OSError(host)
        return self.hosts[host]


def places(*hosts: str) -> tuple[Address, ...]:
    return tuple(Address(host=host, port=9000) for host in hosts)


async def test_a_name_may_stand_for_several_gateways():
    book = AddressBook(["gateway:9000"], hosts=Names(gateway=["10.0.0.3", "10.0.0.2"]).look_up)
    assert await book.look_up() == places("10.0.0.2", "10.0.0.3")


async def test_a_gateway_that_two_names_stand_for_is_one():
    names = Names(own=["10.0.0.2"], gateway=["10.0.0.2", "10.0.0.3"])
    assert await AddressBook(["own:9000", "gateway:9000"], hosts=names.look_up).look_up() == places(
        "10.0.0.2", "10.0.0.3"
    )


async def test_a_name_that_nobody_knows_yet_is_left_out():
    book = AddressBook(["own:9000", "gateway:9000"], hosts=Names(own=["10.0.0.2"]).look_up)
    assert await book.look_up() == places("10.0.0.2")


async def test_what_was_found_last_counts_while_there_is_no_answer():
    names = Names(gateway=["10.0.0.2"])
    book = AddressBook(["gateway:9000"], hosts=names.look_up)
    await book.look_up()
    names.hosts = {}
    assert await book.look_up() == places("10.0.0.2")


async def test_the_edge_is_told_when_a_gateway_has_moved():
    names = Names(gateway=["10.0.0.2"])
    book = AddressBook(["gateway:9000"], hosts=names.look_up)
    told: asyncio.Queue[Neighbours] = asyncio.Queue()
    watch = GatewayWatch(book, neighbours(), told.put_nowait, interval_s=0.001)
    async with asyncio.timeout(5), background(watch.run):
        assert (await told.get()).gateways == places("10.0.0.2")
        names.hosts = {"gateway": ["10.0.0.7"]}
        assert (await told.get()).gateways == places("10.0.0.7")
        assert told.empty()


async def test_a_number_stands_for_itself():
    assert set(await hosts_of("127.0.0.1", 9000)) == {"127.0.0.1"}

"""What an Envoy is told over one stream, and what not again."""

from __future__ import annotations

from google.protobuf import any_pb2

from servemesh.gateway.adapters.xds_messages import CLUSTERS, CUT_MARK, ENDPOINTS, ROUTES, Table, Tables
from servemesh.gateway.adapters.xds_subscriptions import PARTING_S, Request, Response, Subscriptions


def table(version: str, **resources: str) -> Table:
    return Table(
        version=version,
        resources={name: any_pb2.Any(value=content.encode()) for name, content in resources.items()},
    )


def tables(endpoints: Table | None = None, clusters: Table | None = None) -> Tables:
    made = {CLUSTERS: clusters or table("c", a="", b=""), ENDPOINTS: endpoints, ROUTES: table("r", routes="")}
    return {type_url: one for type_url, one in made.items() if one is not None}


def told(responses: list[Response], type_url: str) -> list[bytes]:
    return [resource.value for one in responses if one.type_url == type_url for resource in one.resources]


class Stream:
    """An Envoy that asks for everything and takes what it is told."""

    def __init__(self, clusters_version: str = "") -> None:
        self._subscriptions = Subscriptions()
        self._clusters_version = clusters_version

    def asks(self, offered: Tables, *names: str) -> None:
        for type_url in (CLUSTERS, ENDPOINTS, ROUTES):
            version = self._clusters_version if type_url == CLUSTERS else ""
            request = Request(
                type_url=type_url,
                version_info=version,
                resource_names=names if type_url == ENDPOINTS else (),
            )
            self._subscriptions.received(request, offered)

    def is_told(self, offered: Tables, now: float = 0.0) -> list[Response]:
        return list(self._subscriptions.due(offered, now=now))

    def due_in_s(self, now: float) -> float | None:
        return self._subscriptions.due_in_s(now=now)


def test_of_the_endpoints_only_those_that_changed_are_told() -> None:
    stream, first = Stream(), tables(table("1", a="a1", b="b1"))
    stream.asks(first, "a", "b")
    assert told(stream.is_told(first), ENDPOINTS) == [b"a1", b"b1"]
    changed = stream.is_told(tables(table("2", a="a1", b="b2")))
    assert [one.type_url for one in changed] == [ENDPOINTS]
    assert told(changed, ENDPOINTS) == [b"b2"]


def test_nothing_new_is_not_told() -> None:
    stream, first = Stream(), tables(table("1", a="a1"))
    stream.asks(first, "a")
    stream.is_told(first)
    assert stream.is_told(first) == []


def test_endpoints_that_are_asked_for_later_are_told_then() -> None:
    stream, first = Stream(), tables(table("1", a="a1", b="b1"))
    stream.asks(first, "a")
    assert told(stream.is_told(first), ENDPOINTS) == [b"a1"]
    stream.asks(first, "a", "b")
    assert told(stream.is_told(first), ENDPOINTS) == [b"b1"]


def test_clusters_that_are_no_more_leave_after_the_new_ones_have_come() -> None:
    stream, first = Stream(), tables(table("1", a="a1"), table("c1", a="A"))
    stream.asks(first, "a")
    stream.is_told(first)
    second = tables(table("2", b="b1"), table("c2", b="B"))
    assert told(stream.is_told(second, now=5.0), CLUSTERS) == [b"B", b"A"]
    assert stream.due_in_s(now=6.0) == PARTING_S - 1.0
    assert stream.is_told(second, now=6.0) == []
    (last,) = stream.is_told(second, now=5.0 + PARTING_S)
    assert told([last], CLUSTERS) == [b"B"]
    assert stream.due_in_s(now=5.0 + PARTING_S) is None
    assert stream.is_told(second, now=6.0 + PARTING_S) == []


def test_new_clusters_get_all_endpoints() -> None:
    stream, first = Stream(), tables(table("1", a="a1"), table("c1", a="A"))
    stream.asks(first, "a")
    stream.is_told(first)
    assert told(stream.is_told(tables(table("1", a="a1"), table("c2", a="A2"))), ENDPOINTS) == [b"a1"]


def test_who_knows_no_fleet_leaves_an_envoy_the_clusters_that_it_is_cut_into() -> None:
    ignorant = tables(None)
    cut, uncut = Stream("c0" + CUT_MARK), Stream("c0")
    for stream in (cut, uncut):
        stream.asks(ignorant)
    assert [one.type_url for one in uncut.is_told(ignorant)] == [CLUSTERS, ROUTES]
    assert cut.is_told(ignorant) == []
    assert told(cut.is_told(tables(table("1", a="a1"))), CLUSTERS) != []

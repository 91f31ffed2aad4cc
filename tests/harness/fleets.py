"""Hypothesis strategies for fleets and traffic, and builders of snapshots."""

from __future__ import annotations

from hypothesis import strategies as st

from servemesh.gateway.domain.fleet import Fleet, Slot, SlotState, Worker
from servemesh.gateway.domain.snapshot.building import snapshot_of
from servemesh.gateway.domain.snapshot.policy import EdgePolicy
from servemesh.gateway.domain.snapshot.values import Address, Neighbours, Snapshot
from servemesh.gateway.domain.traffic import Share, Traffic

MODELS = st.sampled_from(["iris", "mnist", "mini-lm", "a_b"])
VERSIONS = st.integers(min_value=1, max_value=4)
ALIASES = st.lists(st.sampled_from(["prod", "canary"]), max_size=2, unique=True).map(tuple)
SLOTS = st.builds(
    Slot,
    model=MODELS,
    version_id=VERSIONS,
    state=st.sampled_from(SlotState),
    is_default=st.booleans(),
    aliases=ALIASES,
)
ADDRESSES = st.one_of(
    st.integers(min_value=1, max_value=9).map(lambda port: f"127.0.0.1:{20000 + port}"),
    st.sampled_from(["", "nonsense", "127.0.0.1:0", "[::1]:20001", "127.0.0.1:99999"]),
)


def _workers(addresses: list[str], data: list[tuple[list[Slot], bool]]) -> dict[str, Worker]:
    return {
        f"w{index}": Worker(
            worker_id=f"w{index}", incarnation="i", address=address, slots=tuple(slots), is_draining=draining
        )
        for index, (address, (slots, draining)) in enumerate(zip(addresses, data, strict=False))
    }


FLEETS = st.builds(
    lambda addresses, data: Fleet(revision=1, by_id=_workers(addresses, data)),
    st.lists(ADDRESSES, max_size=6),
    st.lists(st.tuples(st.lists(SLOTS, max_size=5), st.booleans()), max_size=6),
)


def _shares(versions: list[str], cuts: list[int]) -> tuple[Share, ...]:
    edges = [0, *sorted(cuts)[: len(versions) - 1], 100]
    return tuple(
        Share(version=version, percent=high - low)
        for version, low, high in zip(versions, edges, edges[1:], strict=False)
    )


SHARES = st.builds(
    _shares,
    st.lists(st.sampled_from(["1", "2", "3", "prod", "canary"]), min_size=1, max_size=3, unique=True),
    st.lists(st.integers(0, 100), min_size=2, max_size=2),
)
TRAFFICS = st.builds(lambda by_model: Traffic(by_model=by_model), st.dictionaries(MODELS, SHARES, max_size=3))


def neighbours(edge_port: int = 8001, gateway_port: int = 9001, registry_port: int = 9002) -> Neighbours:
    """Return addresses on loopback."""
    return Neighbours(
        edge=Address(host="127.0.0.1", port=edge_port),
        gateways=(Address(host="127.0.0.1", port=gateway_port),),
        registries=(Address(host="127.0.0.1", port=registry_port),),
    )


SNAPSHOTS = st.builds(
    lambda fleet, traffic: snapshot_of(fleet, traffic, neighbours(), EdgePolicy()), FLEETS, TRAFFICS
)

__all__ = ["FLEETS", "SNAPSHOTS", "TRAFFICS", "Snapshot", "neighbours"]

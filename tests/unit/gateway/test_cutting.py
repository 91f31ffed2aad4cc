"""Into how many clusters the workers of a mesh are cut, and what is in each."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from lupa import luajit21

from servemesh.gateway.adapters.xds_endpoints import worker_clusters
from servemesh.gateway.adapters.xds_routes import cluster_chooser
from servemesh.gateway.domain.snapshot.cutting import clusters_for, cuts_for, parts_of
from servemesh.gateway.domain.snapshot.values import Address, Endpoint
from servemesh.shards import SHARDS, shard_of

IDS = st.from_regex("[a-z][a-z0-9_-]{0,62}", fullmatch=True)
COUNTS = st.sampled_from([1, 2, 4, 8, 16, 32, 64, 128])


def endpoint(number: int, *models: str) -> Endpoint:
    return Endpoint(
        address=Address(host="10.0.0.1", port=1 + number),
        models=models,
        slots=tuple(f"{model}/1" for model in models),
    )


def of_shards(workers: int, shards: int, models: int) -> list[Endpoint]:
    """Return workers that each hold so many models of so many shards."""
    by_shard: dict[int, list[str]] = {number: [] for number in range(SHARDS)}
    for number in range(40 * SHARDS):
        by_shard[shard_of(f"model-{number}")].append(f"model-{number}")
    return [
        endpoint(
            number,
            *(
                name
                for shard in range(number * shards, (number + 1) * shards)
                for name in by_shard[shard % SHARDS][: models // shards]
            ),
        )
        for number in range(workers)
    ]


@given(IDS, COUNTS)
def test_the_script_in_envoy_and_the_gateway_find_the_same_cluster(model: str, count: int) -> None:
    lua = luajit21.LuaRuntime()
    lua.execute(cluster_chooser((count,)))
    expected = worker_clusters(count)[shard_of(model) % count]
    assert lua.globals()["cluster_of"](model, count) == expected


@given(st.lists(st.lists(IDS, max_size=6, unique=True), max_size=6), COUNTS)
def test_the_clusters_together_hold_what_the_workers_hold(held: list[list[str]], count: int) -> None:
    endpoints = [endpoint(number, *models) for number, models in enumerate(held)]
    parts = parts_of(endpoints, count)
    seen = [
        (part.address, name)
        for number, cluster in enumerate(parts)
        for part in cluster
        for name in (*part.models, *part.slots)
        if shard_of(name.partition("/")[0]) % count == number
    ]
    assert len(seen) == len(set(seen))
    assert set(seen) == {(one.address, name) for one in endpoints for name in (*one.models, *one.slots)}


def test_a_worker_is_in_the_cluster_of_a_model_before_it_takes_calls_for_it() -> None:
    coming = Endpoint(address=Address(host="10.0.0.1", port=1), coming=("iris",))
    (part,) = parts_of([coming], 8)[shard_of("iris") % 8]
    assert (part.models, part.slots) == ((), ())


def test_a_small_mesh_is_not_cut() -> None:
    assert clusters_for(of_shards(workers=100, shards=1, models=4), before=1) == 1
    assert clusters_for([], before=1) == 1


def test_a_large_mesh_is_cut_until_each_cluster_has_few_names() -> None:
    assert clusters_for(of_shards(workers=128, shards=1, models=20), before=1) == 32


def test_workers_are_not_put_into_many_clusters() -> None:
    scattered = of_shards(workers=16, shards=64, models=320)
    assert clusters_for(scattered, before=1) == 2


def test_the_cut_is_kept_unless_the_mesh_has_shrunk_by_much() -> None:
    middling = of_shards(workers=64, shards=2, models=20)
    assert cuts_for(middling, before=(1,)) == (16, 1)
    assert cuts_for(middling, before=(32, 1)) == (32, 1)
    assert cuts_for(middling, before=(64, 1)) == (16, 64)

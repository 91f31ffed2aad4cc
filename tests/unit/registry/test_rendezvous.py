"""Which Workers a Version likes best."""

from __future__ import annotations

from collections import defaultdict

from servemesh.registry.domain.placement import Wanted, plan
from servemesh.registry.domain.rendezvous import BLOCK, favourites, fleet_of, liked, likes
from servemesh.shards import shard_of
from tests.harness.registry import GIB, MIB, a_worker

MANY = fleet_of(f"w{number:03}" for number in range(100))
NAMES = [f"model-{number}" for number in range(400)]


def test_what_is_asked_for_one_by_one_comes_in_the_order_of_all() -> None:
    for name in NAMES[:20]:
        everyone = list(likes((name, 1), MANY, among=lambda _: True))
        assert everyone == liked((name, 1), MANY.workers, MANY)
        assert favourites((name, 1), MANY, frozenset(everyone[:1]), 2) == tuple(everyone[1:3])


def test_some_workers_are_liked_in_the_order_of_all() -> None:
    everyone = liked(("iris", 1), MANY.workers, MANY)
    assert liked(("iris", 1), everyone[::-3], MANY) == [
        worker for worker in everyone if worker in everyone[::-3]
    ]


def test_the_models_of_a_shard_like_the_same_workers() -> None:
    firsts: dict[int, set[str]] = defaultdict(set)
    for name in NAMES:
        firsts[shard_of(name)] |= set(liked((name, 1), MANY.workers, MANY)[:BLOCK])
    assert {len(workers) for workers in firsts.values()} == {BLOCK}


def test_in_a_small_fleet_every_model_may_be_anywhere() -> None:
    small = fleet_of(MANY.workers[:BLOCK])
    assert {liked((name, 1), small.workers, small)[0] for name in NAMES} == set(small.workers)


def test_in_a_large_fleet_a_worker_holds_models_of_few_shards_and_its_fair_share() -> None:
    workers = [a_worker(name, memory_bytes_max=1_000 * GIB) for name in MANY.workers]
    wishes = [Wanted(key=(name, 1), replicas=2, size_bytes=MIB) for name in NAMES]
    placed = plan(workers, wishes, {})
    shards = [{shard_of(model) % 8 for model, _ in keys} for keys in placed.holdings.values()]
    assert sum(map(len, shards)) < 2.5 * len(MANY.workers)
    assert max(len(keys) for keys in placed.holdings.values()) <= 9

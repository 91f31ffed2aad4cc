"""Rendezvous hashing: which Workers a Version likes best, the same for every registry and after every change.

The models of a shard like the same Workers: all Workers, in the order in which the shard likes them, are cut into
blocks, and a Version likes any Worker of an earlier block better than one of a later block. So Envoy finds the models
of a shard on few Workers, and a Worker in few shards (docs/decisions/0015). A small fleet is one block.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice

from servemesh.registry.domain.fleet import VersionKey
from servemesh.shards import SHARDS, shard_of

BLOCK = 16
"""Workers of a block: enough to share the calls of one that is lost."""

WORKERS_PER_GROUP = 8
"""A fleet has so many groups of shards that each would have this many Workers to itself."""

_64_BITS = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Order:
    """The Workers of a fleet as a group of shards likes them: in blocks, and of each Worker the number of its block."""

    blocks: tuple[tuple[str, ...], ...]
    numbers: Mapping[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Fleet:
    """All Workers that take Versions. Equal ones are one, so that what follows from it is made once."""

    workers: tuple[str, ...]
    orders: dict[int, Order] = field(default_factory=dict)  # by group, as they are asked for

    def order_for(self, key: VersionKey) -> Order:
        """Return the order in which the group of that Version likes the Workers."""
        group = shard_of(key[0]) % self._groups
        if group not in self.orders:
            self.orders[group] = _order(group, self.workers)
        return self.orders[group]

    @property
    def _groups(self) -> int:
        """In a smaller fleet more shards go together, so that each group fills its own Workers."""
        return min(1 << max(0, (len(self.workers) // WORKERS_PER_GROUP).bit_length() - 1), SHARDS)


def fleet_of(workers: Iterable[str]) -> Fleet:
    """Return the fleet of these Workers."""
    return _fleet(tuple(sorted(workers)))


def liked(key: VersionKey, some: Iterable[str], fleet: Fleet) -> list[str]:
    """Return some Workers of the fleet in the order in which this Version would like to be there."""
    block, seed = fleet.order_for(key).numbers, _seed(key)
    return sorted(some, key=lambda worker: (block[worker], -_mixed(seed ^ _hash(worker)), worker))


def likes(key: VersionKey, fleet: Fleet, *, among: Callable[[str], bool]) -> Iterator[str]:
    """Yield the Workers `among` the fleet in that order; what is not asked for is not sorted."""
    seed = _seed(key)
    for block in fleet.order_for(key).blocks:
        yield from sorted(filter(among, block), key=lambda worker: (-_mixed(seed ^ _hash(worker)), worker))


@lru_cache(maxsize=1 << 15)
def favourites(key: VersionKey, fleet: Fleet, failed: frozenset[str], count: int) -> tuple[str, ...]:
    """Return the first of those liked, but for the failed. Remembered: every round of placement asks the same."""
    return tuple(islice(likes(key, fleet, among=lambda worker: worker not in failed), count))


@lru_cache(maxsize=4)
def _fleet(workers: tuple[str, ...]) -> Fleet:
    return Fleet(workers)


def _order(group: int, workers: Sequence[str]) -> Order:
    seed = _hash(f"shard/{group}")
    ordered = sorted(workers, key=lambda worker: (-_mixed(seed ^ _hash(worker)), worker))
    blocks = tuple(tuple(ordered[start : start + BLOCK]) for start in range(0, len(ordered), BLOCK))
    return Order(blocks, {worker: number for number, block in enumerate(blocks) for worker in block})


def _seed(key: VersionKey) -> int:
    return _hash(f"{key[0]}/{key[1]}")


@lru_cache(maxsize=1 << 15)
def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _mixed(number: int) -> int:
    """Scatter 64 bits: a fleet has many pairs of Version and Worker, too many to make a digest of each."""
    number = (number ^ (number >> 31)) * 0x9E3779B97F4A7C15 & _64_BITS
    return (number ^ (number >> 29)) * 0xBF58476D1CE4E5B9 & _64_BITS

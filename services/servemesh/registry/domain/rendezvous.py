"""Rendezvous hashing: which Workers a Version likes best, the same for every registry and after every change.

The models of a shard like the same Workers: all Workers, in the order in which the shard likes them, are cut into
blocks, and a Version likes any Worker of an earlier block better than one of a later block. So Envoy finds the models
of a shard on few Workers, and a Worker in few shards (docs/decisions/0015). A small fleet is one block.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice

from servemesh.registry.domain.fleet import VersionKey
from servemesh.shards import SHARDS, shard_of

BLOCK = 16
"""Workers of a block: enough to share the calls of one that is lost."""

WORKERS_PER_GROUP = 8
"""A fleet has so many groups of shards that each would have this many Workers to itself."""

Fleet = tuple[str, ...]
"""All Workers that take Versions, by id."""

_64_BITS = (1 << 64) - 1


def liked(key: VersionKey, some: Iterable[str], fleet: Fleet) -> list[str]:
    """Return some Workers of the fleet in the order in which this Version would like to be there."""
    block, seed = _block_numbers(_group(key, fleet), fleet), _seed(key)
    return sorted(some, key=lambda worker: (block[worker], -_mixed(seed ^ _hash(worker)), worker))


def likes(key: VersionKey, fleet: Fleet, *, among: Callable[[str], bool]) -> Iterator[str]:
    """Yield the Workers `among` the fleet in that order; what is not asked for is not sorted."""
    seed = _seed(key)
    for block in _blocks(_group(key, fleet), fleet):
        yield from sorted(filter(among, block), key=lambda worker: (-_mixed(seed ^ _hash(worker)), worker))


@lru_cache(maxsize=1 << 15)
def favourites(key: VersionKey, fleet: Fleet, failed: frozenset[str], count: int) -> tuple[str, ...]:
    """Return the first of those liked, but for the failed. Remembered: every round of placement asks the same."""
    return tuple(islice(likes(key, fleet, among=lambda worker: worker not in failed), count))


@lru_cache(maxsize=2 * SHARDS)
def _blocks(shard: int, fleet: Fleet) -> tuple[Fleet, ...]:
    if len(fleet) <= BLOCK:
        return (fleet,)
    seed = _hash(f"shard/{shard}")
    ordered = sorted(fleet, key=lambda worker: (-_mixed(seed ^ _hash(worker)), worker))
    return tuple(tuple(ordered[start : start + BLOCK]) for start in range(0, len(ordered), BLOCK))


@lru_cache(maxsize=2 * SHARDS)
def _block_numbers(shard: int, fleet: Fleet) -> Mapping[str, int]:
    return {worker: number for number, block in enumerate(_blocks(shard, fleet)) for worker in block}


def _group(key: VersionKey, fleet: Fleet) -> int:
    """Return which shards go together: in a smaller fleet more of them, so that each group fills its own Workers."""
    groups = 1 << max(0, (len(fleet) // WORKERS_PER_GROUP).bit_length() - 1)
    return shard_of(key[0]) % min(groups, SHARDS)


def _seed(key: VersionKey) -> int:
    return _hash(f"{key[0]}/{key[1]}")


@lru_cache(maxsize=1 << 15)
def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _mixed(number: int) -> int:
    """Scatter 64 bits: a fleet has many pairs of Version and Worker, too many to make a digest of each."""
    number = (number ^ (number >> 31)) * 0x9E3779B97F4A7C15 & _64_BITS
    return (number ^ (number >> 29)) * 0xBF58476D1CE4E5B9 & _64_BITS

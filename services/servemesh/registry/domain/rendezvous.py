"""Rendezvous hashing: which Workers a Version likes best, the same for every registry and after every change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache

from servemesh.registry.domain.fleet import VersionKey

_64_BITS = (1 << 64) - 1


def liked(key: VersionKey, workers: Iterable[str]) -> list[str]:
    """Return the Workers in the order in which this Version would like to be there."""
    seed = _hash(f"{key[0]}/{key[1]}")
    return sorted(workers, key=lambda worker: (-_mixed(seed ^ _hash(worker)), worker))


@lru_cache(maxsize=1 << 15)
def favourites(key: VersionKey, workers: tuple[str, ...], count: int) -> tuple[str, ...]:
    """Return the first of those liked. Remembered, for the same is asked in every round of placement."""
    return tuple(liked(key, workers)[:count])


@lru_cache(maxsize=1 << 15)
def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _mixed(number: int) -> int:
    """Scatter 64 bits: a fleet has many pairs of Version and Worker, too many to make a digest of each."""
    number = (number ^ (number >> 31)) * 0x9E3779B97F4A7C15 & _64_BITS
    return (number ^ (number >> 29)) * 0xBF58476D1CE4E5B9 & _64_BITS

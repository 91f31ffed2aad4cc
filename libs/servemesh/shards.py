"""The shard of a model: which models of a large mesh stay together, on the same workers and in one cluster of Envoy.

Placement and the edge must agree on it, and `edge/cluster_chooser.lua` computes it once more inside Envoy.
"""

from __future__ import annotations

from functools import lru_cache

SHARDS = 128
"""A power of two: so many shards can be dealt evenly to any smaller power of two of clusters."""

FACTOR, MODULUS = 131, 8_388_593  # products stay below 2^31, which every language computes exactly


@lru_cache(maxsize=1 << 16)
def shard_of(model: str) -> int:
    """Return the shard of a model, from 0 to SHARDS - 1."""
    value = 0
    for byte in model.encode():
        value = (value * FACTOR + byte) % MODULUS
    return value % SHARDS

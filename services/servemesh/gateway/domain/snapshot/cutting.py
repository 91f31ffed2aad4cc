"""Into how many clusters the workers are cut: Envoy goes through all names of a cluster when one health changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from functools import lru_cache

from servemesh.gateway.domain.snapshot.values import Endpoint
from servemesh.shards import SHARDS, shard_of

UNCUT_NAMES_MAX = 1_000
NAMES_PER_CLUSTER = 256
# Every cluster that a worker is in checks its health by itself.
CLUSTERS_PER_WORKER_MAX = 3.0
SHRINK = 4
ENDPOINTS_REMEMBERED = 1 << 12


def cuts_for(endpoints: Sequence[Endpoint], *, before: tuple[int, ...]) -> tuple[int, ...]:
    """Return into how many clusters the workers are to be cut, and if that is new, into how many they were."""
    clusters = clusters_for(endpoints, before=before[0])
    return before if clusters == before[0] else (clusters, before[0])


def clusters_for(endpoints: Sequence[Endpoint], *, before: int) -> int:
    """Return the number of clusters, a power of two: 1 for a small mesh, for a large one as many as bring each near
    its fair number of names, unless workers would be in too many of them. It shrinks only by much.
    """
    names = len({name for endpoint in endpoints for name in (*endpoint.models, *endpoint.slots)})
    wanted = 1
    if names > UNCUT_NAMES_MAX:
        held = [_shards(endpoint) for endpoint in endpoints]
        while wanted < SHARDS and names > NAMES_PER_CLUSTER * wanted and _fits(held, wanted * 2):
            wanted *= 2
    return before if wanted < before < wanted * SHRINK else wanted


def cluster_of(model: str, clusters: int) -> int:
    """Return which of the clusters a model is in."""
    return shard_of(model) % clusters


def parts_of(endpoints: Iterable[Endpoint], clusters: int) -> list[list[Endpoint]]:
    """Return the endpoints of each cluster, each with what it holds there; one may be in several, or in none."""
    parts: list[list[Endpoint]] = [[] for _ in range(clusters)]
    for endpoint in endpoints:
        for cluster, part in _parts(endpoint, clusters):
            parts[cluster].append(part)
    return parts


# Remembered: a change concerns one endpoint of a thousand.
@lru_cache(maxsize=ENDPOINTS_REMEMBERED)
def _parts(endpoint: Endpoint, clusters: int) -> tuple[tuple[int, Endpoint], ...]:
    models, slots, coming = (
        _dealt(names, clusters) for names in (endpoint.models, endpoint.slots, endpoint.coming)
    )
    return tuple(
        (
            cluster,
            Endpoint(
                address=endpoint.address,
                models=tuple(models.get(cluster, ())),
                slots=tuple(slots.get(cluster, ())),
            ),
        )
        for cluster in {*models, *slots, *coming}
    )


def _dealt(names: Iterable[str], clusters: int) -> dict[int, list[str]]:
    dealt: dict[int, list[str]] = {}
    for name in names:
        dealt.setdefault(cluster_of(name.partition("/")[0], clusters), []).append(name)
    return dealt


@lru_cache(maxsize=ENDPOINTS_REMEMBERED)
def _shards(endpoint: Endpoint) -> Set[int]:
    return {shard_of(model) for model in (*endpoint.models, *endpoint.coming)} | {
        shard_of(name.partition("/")[0]) for name in endpoint.slots
    }


def _fits(held: Sequence[Set[int]], clusters: int) -> bool:
    places = sum(len({shard % clusters for shard in shards}) for shards in held)
    return places <= CLUSTERS_PER_WORKER_MAX * len(held)

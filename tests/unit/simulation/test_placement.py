"""Histories of a fleet and its wishes: what the registry assigns never breaks a bound and comes to rest."""

from __future__ import annotations

import pytest

from servemesh.registry.domain.deployments import shares
from servemesh.registry.domain.fleet import (
    SlotState,
    WorkerState,
)
from servemesh.registry.domain.rendezvous import favourites
from tests.harness.simulated_registry import Registry
from tests.harness.simulation import History, explore

HISTORIES = 2_500
ROUNDS_TO_REST = 40


def placement(history: History) -> None:
    favourites.cache_clear()
    registry = Registry(history)
    for _ in range(history.chance.randint(4, 25)):
        registry.event()
        if history.happens(0.7):
            _settles(registry)
    _comes_to_rest(registry)
    _is_complete(registry)


def _settles(registry: Registry) -> None:
    """Without news a decision stands. It may take back a place that it found a better one for, and that is all."""
    for _ in range(3):
        if not registry.reconcile().assigned:
            return
    raise AssertionError("assignments change again and again although there is no news")


def _comes_to_rest(registry: Registry) -> None:
    """Nobody joins or wishes any more: after some rounds nothing moves."""
    registry.history.tell("calm")
    for _ in range(ROUNDS_TO_REST):
        decision = registry.reconcile()
        before = dict(registry.workers)
        for worker_id in registry.workers:
            registry.obey(worker_id, wholly=True)
        if decision.is_empty and registry.workers == before:
            return
    raise AssertionError("placement does not come to rest")


def _is_complete(registry: Registry) -> None:
    """Everything has its places, or a reason is told why not; what answers is what is wished for."""
    active = [worker for worker in registry.workers.values() if worker.state is WorkerState.ACTIVE]
    for deployment in registry.deployments.values():
        wanted = shares(deployment.traffic, registry.aliases[deployment.model_id])
        for share in wanted:
            key = (deployment.model_id, share.version_id)
            replicas = max(deployment.replicas_wanted(len(active)), int(key in registry.demands))
            ready = [
                worker
                for worker in active
                if (slot := worker.slot(key)) is not None and slot.state is SlotState.READY
            ]
            assert key in registry.shortfalls or len(ready) >= min(replicas, 1), (
                f"{key} is nowhere and nobody says why"
            )
            assert key in registry.shortfalls or len(ready) == replicas, (
                f"{key} has {len(ready)} of {replicas}"
            )
        if not any((deployment.model_id, share.version_id) in registry.shortfalls for share in wanted):
            assert deployment.serving == wanted, f"{deployment.model_id} still serves {deployment.serving}"


@pytest.mark.timeout(420)
def test_placement_keeps_its_bounds_and_comes_to_rest() -> None:
    explore(placement, histories=HISTORIES)

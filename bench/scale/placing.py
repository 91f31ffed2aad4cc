"""What placement costs a registry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bench.scale import fleet
from bench.scale.figures import Figure, timed_ms
from bench.scale.fleet import Size
from servemesh.registry.domain.reconciling import Decision, FleetState, decided


def figures(size: Size) -> Iterator[Figure]:
    """Time the decision of the reconciler, without the database."""
    steady = _converged(fleet.fleet_state(size, is_placed=True))
    yield _figure("placement when nothing is to be done", steady, "once a second at most", times=3)
    yield _figure("placement of one more model", _with_one_more(steady), "with each deployment", times=3)
    yield _figure(
        "placement after the loss of one worker",
        replace(steady, workers=steady.workers[1:]),
        f"{size.models * size.replicas // size.workers} models find another place",
        times=3,
    )
    empty = fleet.fleet_state(size, is_placed=False)
    yield _figure("placement of everything at once", empty, "after the loss of all assignments", times=1)


def _figure(what: str, state: FleetState, meaning: str, times: int) -> Figure:
    return Figure(what=what, value=timed_ms(lambda: _decision(state), times), unit="ms", meaning=meaning)


def _decision(state: FleetState) -> Decision:
    return decided(state, fleet.NOW, demand_idle_s=300, failed_workers_max=3)


def _converged(state: FleetState) -> FleetState:
    """Assign what placement wants, until it wants nothing more or has had its say ten times."""
    for _ in range(10):
        decision = _decision(state)
        if not decision.assigned:
            break
        assignments = {
            **state.assignments,
            **{
                worker: replace(state.assignments[worker], slots=slots)
                for worker, slots in decision.assigned.items()
            },
        }
        ready = {worker: {slot.key for slot in assigned.slots} for worker, assigned in assignments.items()}
        workers = [
            replace(worker, slots=tuple(map(fleet.ready_slot, sorted(ready[worker.worker_id]))))
            for worker in state.workers
        ]
        state = replace(state, assignments=assignments, workers=workers)
    return state


def _with_one_more(state: FleetState) -> FleetState:
    deployment = replace(state.deployments[0], model_id="one-more")
    deployment = replace(
        deployment,
        traffic=(replace(deployment.traffic[0], target="models/one-more/versions/1"),),
    )
    return replace(
        state,
        deployments=[*state.deployments, deployment],
        aliases={**state.aliases, "one-more": {}},
        size_bytes={**state.size_bytes, ("one-more", 1): fleet.MODEL_BYTES},
    )

"""Wishes, workers and assignments of a registry in a simulated history, and what must hold of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from servemesh import names
from servemesh.registry.domain.deployments import Deployment, TrafficTarget, shares
from servemesh.registry.domain.fleet import (
    Assignment,
    Demand,
    Slot,
    SlotState,
    VersionKey,
    Worker,
    WorkerState,
)
from servemesh.registry.domain.placement import Shortfall, estimated_bytes
from servemesh.registry.domain.reconciling import Decision, FleetState, decided
from tests.harness.simulation import History

START = datetime(2026, 1, 1, tzinfo=UTC)
MIB = 1 << 20
SIZES = [1 * MIB, 50 * MIB, 200 * MIB]
FAILED_WORKERS_MAX = 3


@dataclass
class Registry:
    """Wishes, reports and assignments as the registry stores them, and workers that obey in their own time."""

    history: History
    now: datetime = START
    deployments: dict[str, Deployment] = field(default_factory=dict)
    aliases: dict[str, dict[str, int]] = field(default_factory=dict)
    size_bytes: dict[VersionKey, int] = field(default_factory=dict)
    workers: dict[str, Worker] = field(default_factory=dict)
    assignments: dict[str, Assignment] = field(default_factory=dict)
    demands: dict[VersionKey, Demand] = field(default_factory=dict)
    shortfalls: dict[VersionKey, Shortfall] = field(default_factory=dict)
    broken: set[VersionKey] = field(default_factory=set)

    def state(self) -> FleetState:
        return FleetState(
            deployments=list(self.deployments.values()),
            aliases=self.aliases,
            size_bytes=self.size_bytes,
            workers=list(self.workers.values()),
            assignments=dict(self.assignments),
            demands=list(self.demands.values()),
            shortfalls=dict(self.shortfalls),
        )

    def decide(self) -> Decision:
        decision = decided(self.state(), self.now, demand_idle_s=300, failed_workers_max=FAILED_WORKERS_MAX)
        turned = self.state()
        turned = replace(
            turned,
            workers=turned.workers[::-1],
            deployments=turned.deployments[::-1],
            demands=turned.demands[::-1],
        )
        again = decided(turned, self.now, demand_idle_s=300, failed_workers_max=FAILED_WORKERS_MAX)
        assert again.assigned == decision.assigned, "the order of what is known matters"
        return decision

    def reconcile(self) -> Decision:
        """Do what the service does with a decision, and look at what came of it."""
        before = dict(self.assignments)
        decision = self.decide()
        for model, serving in decision.serving.items():
            self.deployments[model] = replace(self.deployments[model], serving=serving)
        for worker_id in decision.left:
            del self.assignments[worker_id]
        for key in decision.idle_demands:
            del self.demands[key]
        if decision.shortfalls is not None:
            self.shortfalls = dict(decision.shortfalls)
        for worker_id, slots in decision.assigned.items():
            self.history.tell(worker_id, "holds", [f"{slot.model_id}{slot.version_id}" for slot in slots])
            self.assignments[worker_id] = Assignment(worker_id=worker_id, slots=slots)
        self._check(before)
        return decision

    # --- what must hold ----------------------------------------------------------------------------

    def _check(self, before: dict[str, Assignment]) -> None:
        assert set(self.assignments) == set(self.workers), "an assignment for everybody who is there"
        for worker_id, assignment in self.assignments.items():
            worker, keys = self.workers[worker_id], [slot.key for slot in assignment.slots]
            assert len(set(keys)) == len(keys), "a version twice on one worker"
            if worker.state is WorkerState.DRAINING:
                had = {slot.key for slot in before[worker_id].slots} if worker_id in before else set()
                assert set(keys) <= had, "a draining worker gets something new"
                continue
            taken = sum(self._need_bytes(key) for key in keys if not self._has_failed(worker, key))
            assert taken <= worker.memory_bytes_max, f"{worker_id} holds more than it has room for"
        for deployment in self.deployments.values():
            assert deployment.serving, "a deployment serves nothing"
            self._check_still_served(deployment, before)

    def _check_still_served(self, deployment: Deployment, before: dict[str, Assignment]) -> None:
        """What answers calls does not lose its last READY place to a decision, where there is room for all."""
        if any(short.reason == "NO_ROOM" for short in self.shortfalls.values()) or deployment.replicas == 0:
            return
        for share in deployment.serving:
            key = (deployment.model_id, share.version_id)
            ready = [
                worker.worker_id
                for worker in self.workers.values()
                if worker.state is WorkerState.ACTIVE
                and worker.worker_id in before
                and any(slot.key == key for slot in before[worker.worker_id].slots)
                and (slot := worker.slot(key)) is not None
                and slot.state is SlotState.READY
            ]
            kept = [id_ for id_ in ready if any(slot.key == key for slot in self.assignments[id_].slots)]
            assert kept or not ready, f"{key} loses its last READY place"

    def _need_bytes(self, key: VersionKey) -> int:
        measured = [
            slot.memory_bytes
            for worker in self.workers.values()
            for slot in worker.slots
            if slot.key == key and slot.state is SlotState.READY
        ]
        return max(measured, default=0) or estimated_bytes(self.size_bytes[key])

    @staticmethod
    def _has_failed(worker: Worker, key: VersionKey) -> bool:
        slot = worker.slot(key)
        return slot is not None and slot.state is SlotState.FAILED

    # --- workers -----------------------------------------------------------------------------------

    def obey(self, worker_id: str, *, wholly: bool = False) -> None:
        """The worker goes some way towards its assignment, and reports."""
        worker = self.workers[worker_id]
        wanted = (
            [slot.key for slot in self.assignments[worker_id].slots] if worker_id in self.assignments else []
        )
        slots = []
        for key in wanted:
            slot = worker.slot(key)
            if slot is None:
                slot = Slot(model_id=key[0], version_id=key[1], state=SlotState.UNLOADED)
            while True:
                slot = self._further(slot)
                if not wholly or slot.state in (SlotState.READY, SlotState.FAILED):
                    break
            slots.append(slot)
        self.workers[worker_id] = replace(worker, slots=tuple(slots))

    def _further(self, slot: Slot) -> Slot:
        match slot.state:
            case SlotState.UNLOADED:
                return replace(slot, state=SlotState.LOADING)
            case SlotState.LOADING if slot.key in self.broken:
                return replace(slot, state=SlotState.FAILED, reason="MODEL_BROKEN")
            case SlotState.LOADING:
                memory_bytes = estimated_bytes(self.size_bytes[slot.key]) * 3 // 4
                return replace(slot, state=SlotState.READY, memory_bytes=memory_bytes)
            case SlotState.FAILED if slot.key not in self.broken:
                return replace(slot, state=SlotState.LOADING)
            case _:
                return slot

    # --- events ------------------------------------------------------------------------------------

    def event(self) -> None:
        chance = self.history.chance
        self.now += timedelta(seconds=chance.choice([0.1, 5, 200]))
        happenings = [self.join, self.push, self.deploy, self.demand, self.push]
        if self.workers:
            happenings += [self.report, self.report, self.report, self.leave, self.restart, self.drain]
        if self.deployments:
            happenings += [self.move, self.scale, self.undeploy]
        happening = chance.choice(happenings)
        self.history.tell(happening.__name__)
        happening()

    def join(self) -> None:
        chance = self.history.chance
        worker_id = f"w{chance.randint(1, 5)}"
        if worker_id not in self.workers:
            memory = chance.choice([300, 600, 2_000]) * MIB
            self.workers[worker_id] = Worker(
                worker_id=worker_id, incarnation="i", address="a:1", memory_bytes_max=memory
            )

    def leave(self) -> None:
        del self.workers[self._any_worker()]

    def restart(self) -> None:
        worker_id = self._any_worker()
        self.workers[worker_id] = replace(self.workers[worker_id], slots=(), state=WorkerState.ACTIVE)

    def drain(self) -> None:
        worker_id = self._any_worker()
        self.workers[worker_id] = replace(self.workers[worker_id], state=WorkerState.DRAINING)

    def report(self) -> None:
        self.obey(self._any_worker())

    def push(self) -> None:
        model = self.history.chance.choice("abcd")
        key = (model, 1 + max([version for name, version in self.size_bytes if name == model], default=0))
        self.size_bytes[key] = self.history.chance.choice(SIZES)
        self.aliases.setdefault(model, {})["latest"] = key[1]
        if self.history.happens(0.15):
            self.broken.add(key)

    def deploy(self) -> None:
        chance = self.history.chance
        if not self.size_bytes:
            return
        model, version = chance.choice(sorted(self.size_bytes))
        if model in self.deployments:
            return
        target = names.alias(model, "latest") if self.history.happens(0.6) else names.version(model, version)
        traffic = (TrafficTarget(target=target, weight_percent=100),)
        self.deployments[model] = Deployment(
            model_id=model,
            traffic=traffic,
            replicas=chance.choice([None, 0, 1, 2, 3]),
            serving=shares(traffic, self.aliases[model]),
            create_time=self.now,
            update_time=self.now,
            revision=1,
        )

    def move(self) -> None:
        model = self.history.chance.choice(sorted(self.deployments))
        version = self.history.chance.choice([id_ for name, id_ in self.size_bytes if name == model])
        self.aliases[model]["latest"] = version

    def scale(self) -> None:
        model = self.history.chance.choice(sorted(self.deployments))
        replicas = self.history.chance.choice([None, 0, 1, 2, 3])
        self.deployments[model] = replace(self.deployments[model], replicas=replicas)

    def undeploy(self) -> None:
        del self.deployments[self.history.chance.choice(sorted(self.deployments))]

    def demand(self) -> None:
        if self.deployments:
            model = self.history.chance.choice(sorted(self.deployments))
            version = self.history.chance.choice([id_ for name, id_ in self.size_bytes if name == model])
            self.demands[model, version] = Demand(model_id=model, version_id=version, demand_time=self.now)

    def _any_worker(self) -> str:
        return self.history.chance.choice(sorted(self.workers))

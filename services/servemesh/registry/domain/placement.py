"""Placement: which Worker should hold which Version, a pure function of the fleet and the wishes.

Versions stay where they are as long as that is right; new ones go where rendezvous hashing says and there is
room; a Version moves to a better place only by being READY there first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from servemesh.registry.domain.fleet import SlotState, VersionKey, Worker, WorkerState
from servemesh.registry.domain.rendezvous import Fleet, favourites, fleet_of, liked, likes

OVERHEAD_FACTOR = 1.5
OVERHEAD_BYTES = 64 * 1024 * 1024
CRASHED = "CRASHED_WORKER"
"""The reason of a slot that FAILED because its Worker died of the Version again and again."""

# Worker id → what it holds, most important first.
Holdings = Mapping[str, Sequence[VersionKey]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A Version that `replicas` Workers should hold. A smaller `tier` and then `rank` is more important.

    It gives way to those of smaller tiers; if `yields`, also to the more important ones of its own.
    """

    key: VersionKey
    replicas: int
    size_bytes: int
    tier: int = 0
    rank: float = 0.0
    yields: bool = False

    @property
    def order(self) -> tuple[int, float, VersionKey]:
        """What to sort by: most important first."""
        return self.tier, self.rank, self.key


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortfall:
    """Why a Version has fewer places than it should have."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Where every Version should be, and what could not be placed."""

    holdings: Mapping[str, tuple[VersionKey, ...]]
    shortfalls: Mapping[VersionKey, Shortfall]

    def holders(self, key: VersionKey) -> tuple[str, ...]:
        """The Workers that should hold that Version, by id."""
        return tuple(sorted(worker for worker, keys in self.holdings.items() if key in keys))


def plan(
    workers: Sequence[Worker], wanted: Sequence[Wanted], current: Holdings, *, failed_workers_max: int = 3
) -> Plan:
    """Place `wanted` on `workers`, given what each was last assigned.

    A Version that FAILED on a Worker stays there to be seen, takes no room and is tried on others, on
    `failed_workers_max` in all; one that a Worker died of is tried nowhere else. A draining Worker keeps what
    it has and counts for nothing.
    """
    board = _Board(workers, wanted, current)
    ordered = sorted(wanted, key=lambda version: version.order)
    for _, group in groupby(ordered, key=lambda version: (version.tier, version.yields and version.key)):
        mates = list(group)
        for version in mates:
            _keep(board, version)
        for version in mates:
            _fill(board, version, failed_workers_max)
    shortfalls = {version.key: short for version in ordered if (short := _shortfall(board, version))}
    for version in ordered:
        _improve(board, version)
    return Plan(holdings=board.holdings([version.key for version in ordered]), shortfalls=shortfalls)


def estimated_bytes(size_bytes: int) -> int:
    """Memory that a Version of that size probably takes once resident."""
    return int(size_bytes * OVERHEAD_FACTOR) + OVERHEAD_BYTES


@dataclass(slots=True)
class _Board:
    """The plan while it is being made. What is asked for each Version is looked up, not searched for."""

    workers: Sequence[Worker]
    wanted: Sequence[Wanted]
    current: Holdings
    takers: dict[str, Worker] = field(init=False)
    fleet: Fleet = field(init=False)  # the takers
    placed: dict[VersionKey, set[str]] = field(init=False)
    used_bytes: dict[str, int] = field(init=False)
    count: dict[str, int] = field(init=False)
    fair_share: int = field(init=False)
    measured: dict[VersionKey, int] = field(init=False)
    states: dict[VersionKey, dict[str, SlotState]] = field(init=False)  # on takers
    holders: dict[VersionKey, list[str]] = field(init=False)  # takers that were assigned it
    crashed: set[VersionKey] = field(init=False)  # a Worker has died of it: others would die of it too

    def __post_init__(self) -> None:
        self.takers = {w.worker_id: w for w in self.workers if w.state is WorkerState.ACTIVE}
        self.fleet = fleet_of(self.takers)
        self.placed = {version.key: set() for version in self.wanted}
        self.used_bytes = dict.fromkeys(self.takers, 0)
        self.count = dict.fromkeys(self.takers, 0)
        slots = sum(min(version.replicas, len(self.takers)) for version in self.wanted)
        self.fair_share = math.ceil(slots / max(1, len(self.takers)))
        self.measured, self.states, self.holders, self.crashed = {}, {}, {}, set()
        for worker in self.workers:
            self._note_slots(worker)
        for worker_id in self.takers:
            for key in self.current.get(worker_id, ()):
                self.holders.setdefault(key, []).append(worker_id)

    def _note_slots(self, worker: Worker) -> None:
        for slot in worker.slots:
            if slot.state is SlotState.READY:
                self.measured[slot.key] = max(slot.memory_bytes, self.measured.get(slot.key, 0))
            if slot.reason == CRASHED:
                self.crashed.add(slot.key)
            if worker.worker_id in self.takers:
                self.states.setdefault(slot.key, {})[worker.worker_id] = slot.state

    def state(self, worker_id: str, key: VersionKey) -> SlotState | None:
        return self.states.get(key, {}).get(worker_id)

    def failed(self, key: VersionKey) -> set[str]:
        return {w for w, state in self.states.get(key, {}).items() if state is SlotState.FAILED}

    def held(self, key: VersionKey) -> list[str]:
        """Takers that were assigned the Version and have not failed it, the best liked first."""
        holders = self.holders.get(key, ())
        return liked(key, (w for w in holders if self.state(w, key) is not SlotState.FAILED), self.fleet)

    def need_bytes(self, version: Wanted) -> int:
        return self.measured.get(version.key) or estimated_bytes(version.size_bytes)

    def take(self, worker_id: str, version: Wanted) -> bool:
        """Place the Version there if there is room; whether it was."""
        need_bytes = self.need_bytes(version)
        if self.used_bytes[worker_id] + need_bytes > self.takers[worker_id].memory_bytes_max:
            return False
        self.placed[version.key].add(worker_id)
        self.used_bytes[worker_id] += need_bytes
        self.count[worker_id] += 1
        return True

    def holdings(self, ordered: Sequence[VersionKey]) -> dict[str, tuple[VersionKey, ...]]:
        """What each Worker should hold: its places, what it has failed, and all it has while it drains."""
        held: dict[str, set[VersionKey]] = {worker.worker_id: set() for worker in self.workers}
        for worker in self.workers:
            had = set(self.current.get(worker.worker_id, ()))
            if worker.worker_id in self.takers:
                had &= {slot.key for slot in worker.slots if slot.state is SlotState.FAILED}
            held[worker.worker_id] = had
        for key, workers in self.placed.items():
            for worker_id in workers:
                held[worker_id].add(key)
        rank = {key: number for number, key in enumerate(ordered)}
        return {
            worker_id: tuple(sorted(keys & rank.keys(), key=rank.__getitem__))
            for worker_id, keys in held.items()
        }


def _keep(board: _Board, version: Wanted) -> None:
    """Stay where it is; a surplus place goes only when the better ones are READY."""
    held = board.held(version.key)
    best, surplus = held[: version.replicas], held[version.replicas :]
    ready = sum(board.state(worker, version.key) is SlotState.READY for worker in best)
    for worker in best:
        board.take(worker, version)
    for worker in surplus:
        if ready < version.replicas and board.state(worker, version.key) is SlotState.READY:
            ready += board.take(worker, version)


def _fill(board: _Board, version: Wanted, failed_workers_max: int) -> None:
    """Find places for the replicas that have none, on Workers with less than their share first."""
    placed, failed = board.placed[version.key], board.failed(version.key)
    if len(placed) >= version.replicas or len(failed) >= failed_workers_max or version.key in board.crashed:
        return
    for is_full in (False, True):
        free = [
            worker
            for worker in board.takers
            if (board.count[worker] >= board.fair_share) is is_full
            and worker not in placed
            and worker not in failed
        ]
        for worker in likes(version.key, board.fleet, among=set(free).__contains__):
            if len(placed) >= version.replicas:
                return
            board.take(worker, version)


def _improve(board: _Board, version: Wanted) -> None:
    """Also go where it would rather be, to relieve a Worker that has more than its share; it leaves there later."""
    placed = board.placed[version.key]
    if not placed or len(placed) != version.replicas:
        return
    relieved = liked(version.key, placed, board.fleet)[-1]
    if board.count[relieved] <= board.fair_share:
        return
    failed = frozenset(board.failed(version.key))
    for worker in favourites(version.key, board.fleet, failed, version.replicas):
        if worker not in placed and board.count[worker] < board.fair_share and board.take(worker, version):
            board.count[relieved] -= 1
            return


def _shortfall(board: _Board, version: Wanted) -> Shortfall | None:
    missing = version.replicas - len(board.placed[version.key])
    if missing <= 0:
        return None
    if not board.takers:
        return Shortfall(reason="NO_WORKERS", message="no worker is there to hold it")
    need_bytes = board.need_bytes(version)
    largest = max(worker.memory_bytes_max for worker in board.takers.values())
    if need_bytes > largest:
        return Shortfall(
            reason="MODEL_TOO_BIG",
            message=f"it needs about {need_bytes} bytes and the largest worker may use {largest}",
        )
    usable = len(board.takers) - len(board.failed(version.key))
    if usable < version.replicas:
        return Shortfall(
            reason="TOO_FEW_WORKERS",
            message=f"{version.replicas} replicas asked for, {usable} workers usable",
        )
    return Shortfall(
        reason="NO_ROOM", message=f"no worker has room for {missing} more replicas of {need_bytes} bytes"
    )

"""Placement decides well whatever the fleet and the wishes are."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from servemesh.registry.domain.fleet import Slot, SlotState, VersionKey, Worker, WorkerState
from servemesh.registry.domain.placement import CRASHED, Plan, Wanted, estimated_bytes, plan
from tests.harness.registry import GIB, MIB, a_worker, holding

FEW_EXAMPLES = settings(max_examples=150, deadline=None)


def wanted(name: str, replicas: int = 1, size_bytes: int = MIB, **changes: int) -> Wanted:
    return replace(Wanted(key=(name, 1), replicas=replicas, size_bytes=size_bytes), **changes)  # type: ignore[arg-type]


def obeyed(workers: list[Worker], placed: Plan) -> list[Worker]:
    """The workers once each has loaded what it was assigned."""
    return [holding(worker, *placed.holdings[worker.worker_id]) for worker in workers]


def settled(workers: list[Worker], wishes: list[Wanted]) -> tuple[list[Worker], Plan]:
    placed = plan(workers, wishes, {})
    for _ in range(10):
        workers = obeyed(workers, placed)
        following = plan(workers, wishes, placed.holdings)
        if following == placed:
            return workers, placed
        placed = following
    raise AssertionError("placement does not come to rest")


fleets = st.lists(st.integers(64, 2_000), min_size=1, max_size=6).map(
    lambda sizes: [a_worker(f"w{i}", memory_bytes_max=size * MIB) for i, size in enumerate(sizes)]
)
wish_lists = st.lists(
    st.tuples(st.integers(1, 3), st.integers(0, 400), st.integers(0, 2)), min_size=1, max_size=8
).map(
    lambda many: [
        wanted(f"m{i}", replicas, size * MIB, tier=tier) for i, (replicas, size, tier) in enumerate(many)
    ]
)


@FEW_EXAMPLES
@given(fleets, wish_lists, st.data())
def test_no_worker_is_ever_assigned_more_than_it_has_room_for(
    workers: list[Worker], wishes: list[Wanted], data: st.DataObject
) -> None:
    keys = [wish.key for wish in wishes]
    current = {
        worker.worker_id: data.draw(st.lists(st.sampled_from(keys), unique=True)) for worker in workers
    }
    states = st.sampled_from([SlotState.READY, SlotState.LOADING, SlotState.UNLOADED])
    workers = [
        replace(
            worker,
            slots=tuple(
                Slot(model_id=key[0], version_id=key[1], state=data.draw(states))
                for key in current[worker.worker_id]
            ),
        )
        for worker in workers
    ]
    placed = plan(workers, wishes, current)
    need = {wish.key: estimated_bytes(wish.size_bytes) for wish in wishes}
    for worker in workers:
        assert sum(need[key] for key in placed.holdings[worker.worker_id]) <= worker.memory_bytes_max
    for wish in wishes:
        assert len(placed.holders(wish.key)) >= wish.replicas or placed.shortfalls[wish.key].reason


@FEW_EXAMPLES
@given(st.integers(1, 6), st.lists(st.integers(1, 4), min_size=1, max_size=12))
def test_every_version_gets_its_replicas_when_there_is_room(count: int, replicas: list[int]) -> None:
    workers = [a_worker(f"w{i}", memory_bytes_max=1_000 * GIB) for i in range(count)]
    wishes = [wanted(f"m{i}", number) for i, number in enumerate(replicas)]
    _, placed = settled(workers, wishes)
    for wish in wishes:
        assert len(placed.holders(wish.key)) == min(wish.replicas, count)


@FEW_EXAMPLES
@given(fleets, wish_lists, st.randoms(use_true_random=False))
def test_the_order_of_what_it_is_given_does_not_matter(
    workers: list[Worker], wishes: list[Wanted], chances: st.DataObject
) -> None:
    first = plan(workers, wishes, {})
    shuffled_workers, shuffled_wishes = list(workers), list(wishes)
    chances.shuffle(shuffled_workers)  # type: ignore[attr-defined]
    chances.shuffle(shuffled_wishes)  # type: ignore[attr-defined]
    assert plan(shuffled_workers, shuffled_wishes, {}) == first


@FEW_EXAMPLES
@given(fleets, wish_lists)
def test_it_comes_to_rest_and_then_nothing_moves(workers: list[Worker], wishes: list[Wanted]) -> None:
    workers, placed = settled(workers, wishes)
    assert plan(workers, wishes, placed.holdings) == placed


@FEW_EXAMPLES
@given(st.integers(1, 6), st.integers(1, 30), st.integers(1, 3))
def test_a_new_worker_takes_at_most_its_fair_share(count: int, models: int, replicas: int) -> None:
    wishes = [wanted(f"m{i}", min(replicas, count)) for i in range(models)]
    workers, before = settled([a_worker(f"w{i}", memory_bytes_max=1_000 * GIB) for i in range(count)], wishes)
    joined = [*workers, a_worker("new", memory_bytes_max=1_000 * GIB)]
    placed = plan(joined, wishes, before.holdings)
    for _ in range(5):
        joined = obeyed(joined, placed)
        placed = plan(joined, wishes, placed.holdings)
    fair_share = -(-models * min(replicas, count) // (count + 1))
    assert len(placed.holdings["new"]) <= fair_share


def test_a_new_worker_relieves_the_others_and_nothing_else_moves() -> None:
    wishes = [wanted(f"m{i}", 2) for i in range(60)]
    workers, before = settled([a_worker(f"w{i}", memory_bytes_max=1_000 * GIB) for i in range(4)], wishes)
    joined = [*workers, a_worker("new", memory_bytes_max=1_000 * GIB)]
    placed = before
    for _ in range(5):
        placed = plan(joined, wishes, placed.holdings)
        joined = obeyed(joined, placed)
    assert 12 <= len(placed.holdings["new"]) <= 24
    for worker in workers:
        assert set(placed.holdings[worker.worker_id]) <= set(before.holdings[worker.worker_id])


@FEW_EXAMPLES
@given(st.integers(2, 6), st.integers(1, 20))
def test_no_version_goes_dark_while_versions_move(count: int, models: int) -> None:
    wishes = [wanted(f"m{i}") for i in range(models)]
    workers, placed = settled([a_worker(f"w{i}", memory_bytes_max=1_000 * GIB) for i in range(count)], wishes)
    joined = [*workers, a_worker("new", memory_bytes_max=1_000 * GIB)]
    for _ in range(5):
        placed = plan(joined, wishes, placed.holdings)
        for wish in wishes:
            assert any(
                (slot := worker.slot(wish.key)) is not None
                and slot.state is SlotState.READY
                and wish.key in placed.holdings[worker.worker_id]
                for worker in joined
            )
        joined = obeyed(joined, placed)


def test_a_version_that_fits_nowhere_is_left_out_with_the_numbers() -> None:
    placed = plan([a_worker(memory_bytes_max=100 * MIB)], [wanted("big", size_bytes=GIB)], {})
    assert placed.holdings == {"w1": ()}
    assert placed.shortfalls["big", 1].reason == "MODEL_TOO_BIG"
    assert str(100 * MIB) in placed.shortfalls["big", 1].message


def test_what_is_less_important_makes_room() -> None:
    worker = a_worker(memory_bytes_max=100 * MIB)
    held = plan([worker], [wanted("old", tier=2)], {})
    assert held.holdings["w1"] == (("old", 1),)
    placed = plan(obeyed([worker], held), [wanted("old", tier=2), wanted("new", tier=0)], held.holdings)
    assert placed.holdings["w1"] == (("new", 1),)
    assert placed.shortfalls["old", 1].reason == "NO_ROOM"


def test_a_version_that_failed_on_a_worker_is_tried_on_others_and_not_for_ever() -> None:
    workers = [a_worker(f"w{i}") for i in range(5)]
    current: dict[str, tuple[VersionKey, ...]] = {}
    tried: set[str] = set()
    for _ in range(8):
        placed = plan(workers, [wanted("bad")], current, failed_workers_max=3)
        current = dict(placed.holdings)
        tried |= set(placed.holders(("bad", 1)))
        workers = [
            holding(worker, *current[worker.worker_id], state=SlotState.FAILED)
            if current[worker.worker_id]
            else worker
            for worker in workers
        ]
    assert len(tried) == 3


def test_a_version_that_a_worker_died_of_is_tried_nowhere_else() -> None:
    bad = Slot(model_id="bad", version_id=1, state=SlotState.FAILED, reason=CRASHED)
    workers = [replace(a_worker("a"), slots=(bad,)), a_worker("b")]
    placed = plan(workers, [wanted("bad")], {"a": [("bad", 1)]})
    assert placed.holders(("bad", 1)) == ("a",)


def test_a_draining_worker_keeps_what_it_has_and_its_versions_go_elsewhere() -> None:
    leaving = holding(replace(a_worker("a"), state=WorkerState.DRAINING), ("m", 1))
    placed = plan([leaving, a_worker("b")], [wanted("m")], {"a": [("m", 1)]})
    assert placed.holders(("m", 1)) == ("a", "b")


def test_measured_memory_replaces_the_estimate() -> None:
    worker = replace(
        a_worker(memory_bytes_max=200 * MIB),
        slots=(Slot(model_id="m", version_id=1, state=SlotState.READY, memory_bytes=190 * MIB),),
    )
    placed = plan([worker], [wanted("m"), wanted("n")], {"w1": [("m", 1)]})
    assert placed.holdings["w1"] == (("m", 1),)
    assert placed.shortfalls["n", 1].reason == "NO_ROOM"

"""What is loaded and what is evicted for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from servemesh.worker.domain.residency import Plan, Seat, planned
from servemesh.worker.domain.slots import Slot, SlotState
from tests.harness.worker_values import a_slot

READY, UNLOADED = SlotState.READY, SlotState.UNLOADED


def a_seat(
    model: str, state: SlotState = UNLOADED, *, is_idle: bool = True, used: int = 0, **changes: Any
) -> Seat:
    return Seat(slot=a_slot(model, state=state, **changes), is_idle=is_idle, used=used)


def plan(
    seats: Sequence[Seat], *demanded: str, memory_bytes_max: int = 300, loads_max: int = 9, now_s: float = 0.0
) -> Plan:
    names = [f"models/{model}/versions/1" for model in demanded]
    return planned(seats, names, memory_bytes_max=memory_bytes_max, loads_max=loads_max, now_s=now_s)


def models(names: Sequence[str]) -> list[str]:
    return [name.split("/")[1] for name in names]


def test_what_fits_is_loaded_in_order_of_importance():
    decided = plan([a_seat("a"), a_seat("b"), a_seat("c"), a_seat("d")])
    assert (models(decided.load), decided.evict) == (["a", "b", "c"], [])


def test_a_demanded_slot_takes_the_place_of_the_least_recently_used_idle_one():
    seats = [
        a_seat("a", READY, used=3),
        a_seat("b", READY, used=1, is_idle=False),
        a_seat("c", READY, used=2),
        a_seat("d", wanted=False),
    ]
    decided = plan(seats, "d")
    assert (models(decided.evict), decided.load) == (["c"], [])


def test_a_slot_with_calls_in_flight_is_never_evicted():
    decided = plan([a_seat("a", READY, is_idle=False, need_bytes=300), a_seat("b")], "b")
    assert decided == Plan()


def test_nothing_is_evicted_in_vain():
    seats = [
        a_seat("a", READY),
        a_seat("b", READY, is_idle=False, need_bytes=200),
        a_seat("c", need_bytes=250),
    ]
    assert plan(seats, "c") == Plan()


def test_room_that_is_being_freed_is_not_freed_twice():
    seats = [
        a_seat("a", SlotState.DRAINING),
        a_seat("b", READY),
        a_seat("c", READY),
        a_seat("d", wanted=False),
    ]
    assert plan(seats, "d") == Plan()


def test_what_was_evicted_comes_back_only_into_free_room():
    crowded = [a_seat("a", wanted=False), *(a_seat(name, READY) for name in "bcd")]
    assert plan(crowded) == Plan()
    assert models(plan(crowded[:3]).load) == ["a"]


def test_what_is_newly_assigned_takes_the_place_of_less_important_slots_only():
    important = [a_seat("new"), *(a_seat(name, READY) for name in "bcd")]
    assert models(plan(important).evict) == ["b"]
    unimportant = [*(a_seat(name, READY) for name in "bcd"), a_seat("new")]
    assert plan(unimportant) == Plan()


def test_what_a_call_asked_for_does_not_make_way_for_what_was_only_assigned():
    seats = [a_seat("new", need_bytes=200), a_seat("b", READY, need_bytes=200, asked=True)]
    assert plan(seats) == Plan()


def test_what_is_removed_goes_first():
    seats = [
        a_seat("new"),
        a_seat("b", READY, used=1),
        a_seat("c", READY, used=2),
        a_seat("old", READY, used=9, removed=True),
    ]
    assert models(plan(seats).evict) == ["old"]


def test_what_can_never_fit_is_refused():
    assert models(plan([a_seat("a", need_bytes=301)]).refused) == ["a"]


def test_a_parked_slot_is_loaded_when_it_is_demanded():
    seat = a_seat("a", parked=True)
    assert plan([seat]).load == []
    assert models(plan([seat], "a").load) == ["a"]


def test_a_failed_slot_is_tried_again_when_its_time_has_come():
    seat = a_seat("a", SlotState.FAILED, retry_at_s=5.0)
    assert plan([seat], now_s=4.9).load == []
    assert models(plan([seat], now_s=5.0).load) == ["a"]


def test_loads_in_the_background_leave_one_place_for_a_demanded_one():
    seats = [a_seat("a", SlotState.LOADING), a_seat("b"), a_seat("c")]
    assert plan(seats, loads_max=2).load == []
    assert models(plan(seats, "c", loads_max=2).load) == ["c"]


def test_a_slot_that_turned_out_larger_makes_others_go():
    seats = [a_seat("a", READY, need_bytes=250, used=2), a_seat("b", READY, used=1)]
    assert models(plan(seats).evict) == ["b"]


@dataclass(slots=True)
class Machine:
    """Does what the plan says, in steps; loads and evictions end when they are told to."""

    slots: list[Slot]
    used: dict[str, int] = field(default_factory=dict)
    ticks: int = 0
    loads: int = 0

    def seats(self) -> list[Seat]:
        return [Seat(slot=slot, used=self.used.get(slot.name, 0)) for slot in self.slots]

    def use(self, name: str) -> None:
        self.ticks += 1
        self.used[name] = self.ticks

    def put(self, slot: Slot) -> None:
        self.slots = [slot if slot.name == old.name else old for old in self.slots]

    def get(self, name: str) -> Slot:
        return next(slot for slot in self.slots if slot.name == name)

    def step(self, demanded: Sequence[str], memory_bytes_max: int) -> bool:
        """Plan, do, and finish what is under way; False if nothing was to be done."""
        decided = planned(self.seats(), demanded, memory_bytes_max=memory_bytes_max, loads_max=3, now_s=0.0)
        for name in decided.evict:
            self.put(self.get(name).draining())
        for name in decided.load:
            self.loads += 1
            self.put(self.get(name).loading(asked=name in demanded))
        assert sum(slot.memory_bytes for slot in self.slots) <= memory_bytes_max
        moved = bool(decided.evict or decided.load)
        for slot in self.slots:
            if slot.state is SlotState.DRAINING:
                self.put(slot.unloaded())
            elif slot.state is SlotState.LOADING:
                self.put(slot.warming(slot.need_bytes).ready())
                self.use(slot.name)
        return moved

    def settle(self, demanded: Sequence[str], memory_bytes_max: int) -> None:
        for _ in range(3 * len(self.slots) + 3):
            if not self.step(demanded, memory_bytes_max):
                return
        raise AssertionError("it never comes to rest")


@settings(max_examples=300, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 100), min_size=1, max_size=8),
    memory_bytes_max=st.integers(1, 250),
    calls=st.lists(st.integers(0, 7), max_size=20),
)
def test_the_budget_holds_and_whoever_is_asked_for_comes_if_it_can_fit(
    sizes: list[int], memory_bytes_max: int, calls: list[int]
):
    machine = Machine([a_slot(f"m{place}", need_bytes=size) for place, size in enumerate(sizes)])
    machine.settle([], memory_bytes_max)
    for call in calls:
        name = machine.slots[call % len(sizes)].name
        machine.settle([name], memory_bytes_max)
        fits = machine.get(name).need_bytes <= memory_bytes_max
        assert (machine.get(name).state is READY) == fits
        machine.use(name)
        before = machine.loads
        machine.settle([], memory_bytes_max)
        machine.settle([], memory_bytes_max)
        assert machine.get(name).state is (READY if fits else UNLOADED)
        assert machine.loads - before <= len(sizes)


@settings(max_examples=200, deadline=None)
@given(sizes=st.lists(st.integers(1, 100), min_size=1, max_size=8), memory_bytes_max=st.integers(1, 250))
def test_a_fixed_assignment_is_loaded_once(sizes: list[int], memory_bytes_max: int):
    machine = Machine([a_slot(f"m{place}", need_bytes=size) for place, size in enumerate(sizes)])
    machine.settle([], memory_bytes_max)
    assert machine.loads == sum(slot.state is READY for slot in machine.slots)
    assert not machine.step([], memory_bytes_max)

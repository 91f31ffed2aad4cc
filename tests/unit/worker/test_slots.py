"""The life of a slot, and which slot a name means."""

from __future__ import annotations

import pytest

from servemesh.worker.domain.addressing import holders, is_needed, late_names
from servemesh.worker.domain.slots import NEVER_S, Slot, SlotState, backoff_s
from tests.harness.worker_values import a_slot, an_assigned

READY = SlotState.READY


def by_name(*slots: Slot) -> dict[str, Slot]:
    return {slot.name: slot for slot in slots}


def test_memory_is_set_aside_from_loading_on_and_given_back_at_the_end():
    slot = a_slot()
    held = [slot.memory_bytes]
    for move in (Slot.loading, lambda slot: slot.warming(70), Slot.ready, Slot.draining, Slot.unloaded):
        slot = move(slot)
        held.append(slot.memory_bytes)
    assert held == [0, 100, 70, 70, 70, 0]
    assert slot.need_bytes == 70


def test_a_move_that_skips_a_state_is_a_bug():
    with pytest.raises(AssertionError, match="cannot go from UNLOADED to READY"):
        a_slot().ready()


def test_failures_count_up_until_it_is_ready():
    failed = a_slot().loading().failed("DISK_FULL", "the disk is full", retry_at_s=1.0)
    again = failed.loading().failed("DISK_FULL", "the disk is full", retry_at_s=NEVER_S)
    assert (failed.failures, again.failures, again.loading().warming(1).ready().failures) == (1, 2, 0)


def test_waits_between_tries_double_up_to_a_bound():
    waits = [backoff_s(count, first_s=1, longest_s=10, chance=0.5) for count in range(6)]
    assert waits == [1, 2, 4, 8, 10, 10]


def test_a_version_is_reached_by_its_id_its_aliases_and_as_the_default():
    slot = a_slot(state=READY, assigned=an_assigned(version_id=3, aliases=("prod",)))
    assert set(holders(by_name(slot), {})) == {("digits", "3"), ("digits", "prod"), ("digits", "")}


def test_of_two_defaults_the_more_important_one_that_is_ready_answers():
    loading, ready = a_slot(version_id=1, state=SlotState.LOADING), a_slot(version_id=2, state=READY)
    assert holders(by_name(loading, ready), {})["digits", ""] == ready.name


def test_a_name_moves_to_a_new_version_when_that_one_is_ready():
    old = a_slot(version_id=1, state=READY, assigned=an_assigned(version_id=1, is_default=False))
    new = a_slot(version_id=2, state=SlotState.WARMING)
    before = {("digits", ""): old.name}
    assert holders(by_name(new, old), before)["digits", ""] == old.name
    assert holders(by_name(new.ready(), old), before)["digits", ""] == new.name


def test_a_removed_version_stays_while_its_successor_is_not_ready():
    old, new = a_slot(version_id=1, state=READY, removed=True), a_slot(version_id=2)
    slots = by_name(new, old)
    held = holders(slots, {("digits", ""): old.name})
    assert is_needed(old, slots, held)
    slots = by_name(a_slot(version_id=2, state=READY), old)
    assert not is_needed(old, slots, holders(slots, held))


def test_a_removed_version_without_successor_goes():
    old = a_slot(state=READY, removed=True)
    slots = by_name(old)
    assert not is_needed(old, slots, holders(slots, {("digits", ""): old.name}))


def test_a_name_that_went_to_another_worker_is_answered_a_little_longer():
    key, slot = ("digits", "prod"), a_slot().name
    late = late_names({}, {key: slot}, {}, now_s=10.0, wait_s=1.0)
    assert late[key].slot == slot
    assert late_names(late, {}, {}, now_s=10.9, wait_s=1.0) == late
    assert late_names(late, {}, {}, now_s=11.0, wait_s=1.0) == {}
    assert late_names(late, {}, {key: slot}, now_s=10.1, wait_s=1.0) == {}

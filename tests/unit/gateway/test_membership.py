"""Who belongs to the fleet, by what evidence."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from servemesh.gateway.domain.fleet import Slot, SlotState, Worker
from servemesh.gateway.domain.membership import Membership, Patience, restored

PATIENCE = Patience(silence_s=5, bus_gap_s=2, listing_s=15)


def a_worker(worker_id: str = "w1", incarnation: str = "i1", port: int = 1, **changes: object) -> Worker:
    return Worker(worker_id=worker_id, incarnation=incarnation, address=f"127.0.0.1:{port}", **changes)  # type: ignore[arg-type]


def ids(membership: Membership) -> list[str]:
    return [worker.worker_id for worker in membership.fleet.workers]


def with_live_bus(membership: Membership, *, start: float, end: float) -> Membership:
    now = start
    while now <= end:
        membership = membership.bus_heard(now=now, patience=PATIENCE)
        membership = membership.without_the_silent(now=now, patience=PATIENCE)
        now += 0.5
    return membership


def test_an_announced_worker_is_in_the_table() -> None:
    assert ids(Membership().announced(a_worker(), sequence=1, now=0, patience=PATIENCE)) == ["w1"]


def test_a_worker_that_says_goodbye_leaves_at_once() -> None:
    assert (
        ids(Membership().announced(a_worker(), sequence=1, now=0, patience=PATIENCE).left("w1", "i1")) == []
    )


def test_the_late_announcement_of_a_worker_that_left_changes_nothing() -> None:
    left = Membership().announced(a_worker(), sequence=1, now=0, patience=PATIENCE).left("w1", "i1")
    assert ids(left.announced(a_worker(), sequence=2, now=1, patience=PATIENCE)) == []


def test_a_listing_that_still_names_a_worker_that_left_changes_nothing() -> None:
    left = Membership().announced(a_worker(), sequence=1, now=0, patience=PATIENCE).left("w1", "i1")
    assert ids(left.listed([a_worker()], now=1, patience=PATIENCE)) == []


def test_the_goodbye_of_an_earlier_incarnation_does_not_remove_the_new_one() -> None:
    restarted = (
        Membership()
        .announced(a_worker(), sequence=9, now=0, patience=PATIENCE)
        .announced(a_worker(incarnation="i2"), sequence=1, now=1, patience=PATIENCE)
    )
    assert ids(restarted.left("w1", "i1")) == ["w1"]


def test_an_older_announcement_changes_nothing() -> None:
    newer = Membership().announced(a_worker(port=2), sequence=2, now=0, patience=PATIENCE)
    assert newer.announced(a_worker(port=1), sequence=1, now=1, patience=PATIENCE) is newer


def test_a_repeated_announcement_is_no_change_of_the_fleet() -> None:
    once = Membership().announced(a_worker(), sequence=1, now=0, patience=PATIENCE)
    assert (
        once.announced(a_worker(), sequence=2, now=1, patience=PATIENCE).fleet.revision == once.fleet.revision
    )


def test_a_worker_that_fell_silent_on_a_live_bus_leaves() -> None:
    heard = Membership().announced(a_worker(), sequence=1, now=0, patience=PATIENCE)
    assert ids(with_live_bus(heard, start=0, end=4.5)) == ["w1"]
    assert ids(with_live_bus(heard, start=0, end=6)) == []


def test_a_worker_that_fell_silent_with_the_bus_stays() -> None:
    heard = with_live_bus(
        Membership().announced(a_worker(), sequence=1, now=0, patience=PATIENCE), start=0, end=1
    )
    assert ids(heard.without_the_silent(now=100, patience=PATIENCE)) == ["w1"]


def test_silence_counts_anew_when_the_bus_comes_back() -> None:
    heard = (
        Membership()
        .announced(a_worker(), sequence=1, now=0, patience=PATIENCE)
        .bus_heard(now=0, patience=PATIENCE)
    )
    assert ids(with_live_bus(heard, start=100, end=104.5)) == ["w1"]
    assert ids(with_live_bus(heard, start=100, end=106)) == []


def test_a_silent_worker_with_a_lease_stays() -> None:
    heard = Membership().announced(a_worker(), sequence=1, now=0, patience=PATIENCE)
    listed = heard.listed([a_worker()], now=1, patience=PATIENCE)
    assert ids(with_live_bus(listed, start=0, end=10)) == ["w1"]


def test_a_listing_does_not_overrule_what_a_worker_just_said() -> None:
    ready = Slot(model="m", version_id=1, state=SlotState.READY)
    heard = Membership().announced(a_worker(slots=(ready,)), sequence=1, now=0, patience=PATIENCE)
    assert heard.listed([a_worker()], now=1, patience=PATIENCE).fleet.by_id["w1"].slots == (ready,)


def test_with_the_bus_away_a_listing_counts_more_than_what_was_announced_before() -> None:
    ready = Slot(model="a", version_id=1, state=SlotState.READY)
    heard = Membership().announced(a_worker(slots=(ready,)), sequence=1, now=0, patience=PATIENCE)
    lost = heard.bus_lost()
    assert lost.listed([a_worker()], now=1, patience=PATIENCE).fleet.by_id["w1"].slots == ()
    back = lost.bus_heard(now=1, patience=PATIENCE)
    assert back.listed([a_worker()], now=1, patience=PATIENCE).fleet.by_id["w1"].slots == (ready,)


def test_a_restored_table_is_kept_while_nothing_can_be_asked() -> None:
    state = restored([a_worker()], now=0).without_the_silent(now=1000, patience=PATIENCE)
    assert ids(state) == ["w1"]
    assert state.is_proven


def test_an_empty_table_is_no_proof_before_anybody_was_asked() -> None:
    assert not Membership().is_proven
    assert Membership().listed([], now=0, patience=PATIENCE).is_proven


def test_a_listing_that_tells_of_a_new_process_does_not_have_its_announcements_ignored() -> None:
    heard = Membership().announced(a_worker(), sequence=500, now=0, patience=PATIENCE)
    listed = heard.listed([a_worker(incarnation="i2")], now=10, patience=PATIENCE)
    ready = Slot(model="m", version_id=1, state=SlotState.READY)
    told = a_worker(incarnation="i2", slots=(ready,))
    said = listed.announced(told, sequence=1, now=11, patience=PATIENCE)
    assert said.fleet.by_id["w1"] == told


def test_a_process_that_a_late_message_of_its_predecessor_replaced_is_believed_again() -> None:
    new, old = a_worker(incarnation="i2"), a_worker(incarnation="i1")
    state = restored([new], now=0).announced(old, sequence=3, now=0, patience=PATIENCE)
    assert state.announced(new, sequence=4, now=1, patience=PATIENCE).fleet.by_id["w1"] == old
    assert state.announced(new, sequence=9, now=3, patience=PATIENCE).fleet.by_id["w1"] == new


EVENTS = st.one_of(
    st.tuples(st.just("announce"), st.sampled_from("abc"), st.integers(1, 3), st.integers(1, 20)),
    st.tuples(st.just("leave"), st.sampled_from("abc"), st.integers(1, 3)),
    st.tuples(st.just("list"), st.sets(st.sampled_from("abc"))),
    st.tuples(st.just("wait"), st.floats(0, 10)),
)


@given(st.lists(EVENTS, max_size=40))
def test_without_the_bus_nobody_leaves_unless_he_says_so(events: list[tuple]) -> None:  # type: ignore[type-arg]
    state, now, present = Membership(), 0.0, set()
    for kind, *arguments in events:
        before = set(ids(state))
        if kind == "announce":
            name, incarnation, sequence = arguments
            state = state.announced(
                a_worker(name, f"{name}{incarnation}"), sequence=sequence, now=now, patience=PATIENCE
            )
        elif kind == "leave":
            name, incarnation = arguments
            state = state.left(name, f"{name}{incarnation}")
            before.discard(name)
        elif kind == "list":
            state = state.listed(
                [a_worker(name, f"{name}1") for name in arguments[0]], now=now, patience=PATIENCE
            )
        else:
            now += arguments[0]
            state = state.without_the_silent(now=now, patience=PATIENCE)
        present = set(ids(state))
        assert before <= present
        assert set(state.sightings) == present

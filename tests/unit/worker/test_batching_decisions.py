"""Which calls run together: seeded histories of arrivals, departures and runs under a clock of their own."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servemesh.errors import OverloadedError
from servemesh.worker.domain.batching import PRIORITY_DEFAULT, BatchPolicy, Ticket, WaitingRoom


def a_ticket(
    *, key: str = "", rows: int = 1, priority: int = 0, expires_s: float = math.inf, size_bytes: int = 8
) -> Ticket:
    return Ticket(key=key, rows=rows, size_bytes=size_bytes, priority=priority, expires_s=expires_s)


def a_room(**policy: int) -> WaitingRoom[Ticket]:
    return WaitingRoom(BatchPolicy(**policy))  # type: ignore[arg-type]


def test_calls_of_one_shape_run_together_up_to_the_rows_allowed() -> None:
    room = a_room()
    first, second, third = a_ticket(rows=2), a_ticket(rows=2), a_ticket(rows=1)
    for ticket in (first, second, third):
        room.add(ticket)
    assert room.take(0, rows_max=4) == ([first, second], [])
    assert room.take(0, rows_max=4) == ([third], [])


def test_the_oldest_call_decides_which_shape_runs_next() -> None:
    room = a_room()
    tickets = [a_ticket(key=key) for key in "abab"]
    for ticket in tickets:
        room.add(ticket)
    assert room.take(0, 8)[0] == [tickets[0], tickets[2]]
    assert room.take(0, 8)[0] == [tickets[1], tickets[3]]


def test_a_higher_priority_runs_first_and_takes_others_of_its_shape_along() -> None:
    room = a_room()
    late, other, urgent = a_ticket(key="a"), a_ticket(key="b"), a_ticket(key="a", priority=1)
    for ticket in (late, other, urgent):
        room.add(ticket)
    assert room.take(0, 8)[0] == [urgent, late]
    assert PRIORITY_DEFAULT > 1


def test_a_call_of_high_priority_takes_the_place_of_the_newest_of_low_priority() -> None:
    room = a_room(queue_rows_max=3)
    first, second, third = (a_ticket(priority=priority) for priority in (0, 9, 9))
    for ticket in (first, second, third):
        room.add(ticket)
    urgent = a_ticket(priority=1, rows=2)
    assert room.add(urgent) == [third, second]
    assert room.take(0, 8)[0] == [urgent, first]


def test_nobody_is_sent_away_for_a_call_that_finds_no_room_all_the_same() -> None:
    room = a_room(queue_rows_max=3)
    equal, lower = a_ticket(rows=2, priority=1), a_ticket(priority=9)
    room.add(equal)
    room.add(lower)
    with pytest.raises(OverloadedError):
        room.add(a_ticket(rows=2, priority=1))
    assert room.take(0, 8)[0] == [equal, lower]


def paced(run_s: float) -> WaitingRoom[Ticket]:
    """Return an empty room in which runs of one row have taken so long."""
    room = WaitingRoom[Ticket](BatchPolicy(queue_wait_s_max=4.0))
    room.add(a_ticket())
    room.add(a_ticket())
    room.take(0.0, rows_max=1)
    room.take(run_s, rows_max=1)
    return room


@pytest.mark.parametrize(("run_s", "taken"), [(0.1, 41), (0.5, 9), (2.0, 4), (60.0, 4)])
def test_a_call_that_would_wait_too_long_is_refused_unless_that_is_only_a_few_runs(
    run_s: float, taken: int
) -> None:
    room = paced(run_s)
    for _ in range(taken):
        room.add(a_ticket())
    with pytest.raises(OverloadedError, match="seconds") as refused:
        room.add(a_ticket())
    assert refused.value.metadata["unit"] == "seconds"
    room.add(a_ticket(priority=1))  # nobody comes before it


def test_when_runs_are_faster_again_more_may_wait() -> None:
    room, now_s = paced(2.0), 2.0
    for _ in range(4):
        room.add(a_ticket())
    for _ in range(40):
        now_s += 0.01
        room.take(now_s, rows_max=1)
        room.add(a_ticket())
    for _ in range(100):
        room.add(a_ticket())


def test_the_time_in_which_nobody_waited_because_all_had_left_counts_for_nothing() -> None:
    room = paced(0.001)
    leaver = a_ticket()
    room.add(a_ticket())
    room.add(leaver)
    room.take(1.0, rows_max=1)
    room.remove(leaver)
    room.add(a_ticket())
    room.take(60.0, rows_max=1)
    for _ in range(100):
        room.add(a_ticket())


def test_a_call_whose_time_is_over_never_runs() -> None:
    room = a_room()
    dead, alive = a_ticket(expires_s=1.0), a_ticket(expires_s=3.0)
    room.add(dead)
    room.add(alive)
    assert room.take(2.0, 8) == ([alive], [dead])


def test_more_rows_or_bytes_than_may_wait_are_refused() -> None:
    room = a_room(queue_rows_max=3, queue_bytes_max=100)
    room.add(a_ticket(rows=2, size_bytes=60))
    with pytest.raises(OverloadedError, match="Exceeds maximum queue size"):
        room.add(a_ticket(rows=2))
    with pytest.raises(OverloadedError, match="bytes"):
        room.add(a_ticket(rows=1, size_bytes=60))
    assert (room.rows, room.size_bytes) == (2, 60)


def test_calls_without_rows_take_a_place_all_the_same() -> None:
    room = a_room(queue_rows_max=2)
    room.add(a_ticket(rows=0))
    room.add(a_ticket(rows=0))
    with pytest.raises(OverloadedError):
        room.add(a_ticket(rows=0))


@given(seed=st.integers(0, 2**32))
def test_in_any_history_every_call_runs_once_expires_once_or_leaves(seed: int) -> None:
    chance = random.Random(seed)
    rows_max = chance.randint(1, 8)
    room = a_room(queue_rows_max=32, queue_bytes_max=200)
    now_s, fates = 0.0, dict[Ticket, str]()
    waiting: list[Ticket] = []
    for _ in range(chance.randint(1, 120)):
        now_s += chance.random()
        match chance.choice(["arrive", "arrive", "arrive", "leave", "run"]):
            case "arrive":
                ticket = a_ticket(
                    key=chance.choice("ab"),
                    rows=chance.randint(0, rows_max),
                    priority=chance.choice([0, 0, 1, 20]),
                    expires_s=now_s + chance.choice([1.0, 10.0]),
                    size_bytes=chance.randint(0, 30),
                )
                try:
                    making_room = room.add(ticket)
                except OverloadedError:
                    continue
                for other in making_room:
                    assert other.rank > ticket.rank
                    waiting.remove(other)
                waiting.append(ticket)
            case "leave" if waiting:
                ticket = waiting.pop(chance.randrange(len(waiting)))
                assert room.remove(ticket)
                assert not room.remove(ticket)
            case "run":
                check_run(room, waiting, fates, now_s, rows_max)
        assert room.rows == sum(ticket.places for ticket in waiting) <= 32
        assert room.size_bytes == sum(ticket.size_bytes for ticket in waiting)
        assert len(room) == len(waiting)
    while room.rows:
        check_run(room, waiting, fates, now_s, rows_max)
    assert not waiting


def check_run(
    room: WaitingRoom[Ticket], waiting: list[Ticket], fates: dict[Ticket, str], now_s: float, rows_max: int
) -> None:
    batch, expired = room.take(now_s, rows_max)
    for ticket in (*batch, *expired):
        assert ticket not in fates
        fates[ticket] = "met"
        waiting.remove(ticket)
    assert all(ticket.expires_s <= now_s for ticket in expired)
    assert all(ticket.expires_s > now_s for ticket in batch)
    assert len({ticket.key for ticket in batch}) <= 1
    assert sum(ticket.places for ticket in batch) <= rows_max
    if batch:
        alive = [ticket for ticket in waiting if ticket.expires_s > now_s]
        assert all((batch[0].rank, batch[0].sequence) < (ticket.rank, ticket.sequence) for ticket in alive)

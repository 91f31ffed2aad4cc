"""Which waiting calls run together next: the decisions of the batcher, without clock or event loop."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from servemesh.errors import OverloadedError
from servemesh.worker.domain.backlog import Backlog

# A call without a priority ranks here: callers can ask to be before or after the rest.
PRIORITY_DEFAULT = 8
# So many runs' worth of calls may wait however long the runs take.
RUNS_AHEAD_MIN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPolicy:
    """How the calls of one slot are put together, and how many may wait.

    `rows_max` 1 means that calls run one at a time, whole. `executions` runs go on side by side. Runs known to
    take `inline_s_max` at most are made on the event loop; 0 for none. A call that would probably wait longer than
    `queue_wait_s_max`, and for more than a few runs, is refused; 0 for no such bound.
    """

    rows_max: int = 64
    linger_s: float = 0.0
    queue_rows_max: int = 4096
    queue_bytes_max: int = 256 << 20
    queue_wait_s_max: float = 4.0
    executions: int = 1
    inline_s_max: float = 0.0005


class Ticket:
    """A call's place in the waiting room. Only calls with equal `key` can run together."""

    __slots__ = (
        "expires_s",
        "key",
        "places",
        "rank",
        "rows",
        "sequence",
        "size_bytes",
    )

    def __init__(self, *, key: Hashable, rows: int, size_bytes: int, priority: int, expires_s: float) -> None:
        self.key = key
        self.rows = rows
        self.places = max(1, rows)  # a call without rows takes a place all the same
        self.size_bytes = size_bytes
        self.rank = priority or PRIORITY_DEFAULT
        self.expires_s = expires_s
        self.sequence = 0


TicketT = TypeVar("TicketT", bound=Ticket)


class WaitingRoom(Generic[TicketT]):
    """Calls that wait, in lanes of equal priority and key; within a lane, first come, first served."""

    def __init__(self, policy: BatchPolicy) -> None:
        self._policy = policy
        self._lanes: dict[tuple[int, Hashable], OrderedDict[int, TicketT]] = {}
        self._sequence = 0
        self._backlog = Backlog()
        self._run_rows_max = policy.rows_max
        self.size_bytes = 0

    @property
    def rows(self) -> int:
        """Places that are taken: rows, and one for each call without any."""
        return self._backlog.places

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    @property
    def calls(self) -> int:
        """How many calls wait. Another thread may ask, and gets a number of about now."""
        return sum(len(lane) for lane in list(self._lanes.values()))

    def add(self, ticket: TicketT) -> list[TicketT]:
        """Let a call wait; return those that make room for it: the newest of lower priority.

        OverloadedError if rows or bytes would exceed the policy's bounds all the same, or if it would
        probably wait too long.
        """
        self._check_wait(ticket)
        displaced = [] if self._has_room(ticket, self.rows, self.size_bytes) else self._displaced_by(ticket)
        for other in displaced:
            self.remove(other)
        self._sequence += 1
        ticket.sequence = self._sequence
        lane = self._lanes.get((ticket.rank, ticket.key))
        if lane is None:
            lane = self._lanes[ticket.rank, ticket.key] = OrderedDict()
        lane[ticket.sequence] = ticket
        self._backlog.add(ticket.rank, ticket.places)
        self.size_bytes += ticket.size_bytes
        return displaced

    def remove(self, ticket: TicketT) -> bool:
        """Let a call go that no longer wants an answer; False if it does not wait here."""
        lane = self._lanes.get((ticket.rank, ticket.key))
        if lane is None or lane.pop(ticket.sequence, None) is None:
            return False
        self._left(ticket, lane)
        if not self._backlog.places:
            self._backlog.interrupt()
        return True

    def take(self, now_s: float, rows_max: int) -> tuple[list[TicketT], list[TicketT]]:
        """Return the calls that run together next, and those met on the way whose time is over.

        The call that came first among those of the highest priority decides the key; the batch is filled with
        calls of that key by priority, then by arrival, up to `rows_max`.
        """
        self._run_rows_max = rows_max
        batch: list[TicketT] = []
        expired: list[TicketT] = []
        while self._lanes and not batch:
            first = self._first_lane()
            room = self._fill(first, rows_max, now_s, batch, expired)
            if batch and room > 0 and self._lanes:
                for lane in sorted(lane for lane in self._lanes if lane[1] == first[1] and lane != first):
                    room = self._fill(lane, room, now_s, batch, expired)
        self._backlog.began(sum(ticket.places for ticket in batch), now_s)
        return batch, expired

    def clear(self) -> list[TicketT]:
        """Return every waiting call and forget them."""
        tickets = [ticket for lane in self._lanes.values() for ticket in lane.values()]
        self._lanes.clear()
        self._backlog = Backlog()
        self.size_bytes = 0
        return tickets

    def _check_wait(self, ticket: TicketT) -> None:
        limit_s, backlog = self._policy.queue_wait_s_max, self._backlog
        if not limit_s or backlog.wait_s(backlog.places) <= limit_s:
            return
        ahead = backlog.ahead(ticket.rank)
        if ahead >= RUNS_AHEAD_MIN * self._run_rows_max and backlog.wait_s(ahead) > limit_s:
            raise _overloaded("seconds", round(backlog.wait_s(ahead), 1), limit_s)

    def _has_room(self, ticket: TicketT, rows: int, size_bytes: int) -> bool:
        if rows + ticket.places > self._policy.queue_rows_max:
            return False
        # One call may always wait, however large: the message limit bounds it.
        return not rows or size_bytes + ticket.size_bytes <= self._policy.queue_bytes_max

    def _displaced_by(self, ticket: TicketT) -> list[TicketT]:
        """Return whom to send away so that a call can wait; OverloadedError if that does not suffice."""
        lower = [
            other for lane in self._lanes.values() for other in lane.values() if other.rank > ticket.rank
        ]
        lower.sort(key=lambda other: (other.rank, other.sequence))
        rows, size_bytes, displaced = self.rows, self.size_bytes, []
        while not self._has_room(ticket, rows, size_bytes):
            if not lower:
                policy = self._policy
                if self.rows + ticket.places > policy.queue_rows_max:
                    raise _overloaded("rows", self.rows, policy.queue_rows_max)
                raise _overloaded("bytes", self.size_bytes, policy.queue_bytes_max)
            displaced.append(lower.pop())
            rows -= displaced[-1].places
            size_bytes -= displaced[-1].size_bytes
        return displaced

    def _first_lane(self) -> tuple[int, Hashable]:
        if len(self._lanes) == 1:
            return next(iter(self._lanes))
        return min(self._lanes, key=lambda lane: (lane[0], next(iter(self._lanes[lane]))))

    def _fill(
        self,
        key: tuple[int, Hashable],
        room: int,
        now_s: float,
        batch: list[TicketT],
        expired: list[TicketT],
    ) -> int:
        lane = self._lanes[key]
        while lane:
            ticket = next(iter(lane.values()))
            is_expired = ticket.expires_s <= now_s
            if batch and not is_expired and ticket.places > room:
                break
            lane.popitem(last=False)
            self._left(ticket, lane)
            if not is_expired:
                batch.append(ticket)
                room -= ticket.places
                continue
            expired.append(ticket)
            if not batch:  # the next one here may not be the first in line of all
                break
        return room

    def _left(self, ticket: TicketT, lane: OrderedDict[int, TicketT]) -> None:
        self._backlog.add(ticket.rank, -ticket.places)
        self.size_bytes -= ticket.size_bytes
        if not lane:
            del self._lanes[ticket.rank, ticket.key]


def displaced() -> OverloadedError:
    """Return the error for a call that made room for one of higher priority."""
    return OverloadedError("a call of higher priority has taken the place of this one", reason="DISPLACED")


def _overloaded(what: str, waiting: float, limit: float) -> OverloadedError:
    return OverloadedError(
        f"Exceeds maximum queue size: {waiting:g} {what} wait, at most {limit:g} may",
        reason="QUEUE_FULL",
        waiting=waiting,
        limit=limit,
        unit=what,
    )

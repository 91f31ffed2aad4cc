"""How many calls a server takes, how they are drained, and the deadlines they get."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from servemesh.errors import ExpiredError, OverloadedError, UnavailableError
from servemesh.rpc.calls import CallsInFlight, Deadlines, ImposedDeadline
from servemesh.rpc.client import remaining_s


class FixedContext:
    def __init__(self, left_s: float | None) -> None:
        self._left_s = left_s

    def time_remaining(self) -> float | None:
        return self._left_s


async def in_flight(calls: CallsInFlight, go: asyncio.Event) -> None:
    task = calls.enter_task()
    try:
        await go.wait()
    finally:
        calls.leave(task)


async def under(deadline: ImposedDeadline, work: Any) -> None:
    task = asyncio.current_task()
    assert task is not None
    deadline.enter(task)
    try:
        await work
    finally:
        deadline.leave(task)


async def test_calls_beyond_the_bound_are_refused():
    calls, go = CallsInFlight(calls_max=1), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(in_flight(calls, go))
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError):
            calls.enter_task()
        go.set()


async def test_a_drain_waits_for_the_last_call_and_refuses_new_ones():
    calls, go = CallsInFlight(calls_max=8), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(in_flight(calls, go))
        await asyncio.sleep(0)
        drained = group.create_task(calls.drain(grace_s=5))
        await asyncio.sleep(0)
        with pytest.raises(UnavailableError):
            calls.enter_task()
        assert not drained.done()
        go.set()
    assert drained.result() == 0


async def test_a_drain_interrupts_what_outlasts_its_grace():
    calls = CallsInFlight(calls_max=8)
    async with asyncio.TaskGroup() as group:
        held = group.create_task(in_flight(calls, asyncio.Event()))
        await asyncio.sleep(0)
        assert await calls.drain(grace_s=0) == 1
    assert held.cancelled()


async def test_an_imposed_deadline_ends_each_call_in_its_turn():
    deadline = ImposedDeadline(0.02)
    for _ in range(2):
        tasks = []
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:

            async def expired() -> None:
                with pytest.raises(ExpiredError):
                    await under(deadline, asyncio.Event().wait())

            tasks = [group.create_task(expired()) for _ in range(3)]
        assert all(task.done() for task in tasks)
    deadline.close()


async def test_a_call_that_ends_in_time_is_left_alone():
    deadline = ImposedDeadline(60)
    await under(deadline, asyncio.sleep(0))
    deadline.close()


async def test_a_cancellation_that_is_not_the_deadlines_passes():
    deadline = ImposedDeadline(60)
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await under(deadline, asyncio.sleep(0))
    task.uncancel()
    deadline.close()


@pytest.mark.parametrize(
    ("left_s", "imposed"), [(None, True), (9.2e18, True), (301.0, True), (300.0, False), (0.1, False)]
)
def test_a_deadline_is_imposed_where_the_client_gave_none_or_too_much(left_s: float | None, imposed: bool):
    assert (Deadlines(30, 300).imposed(left_s) is not None) is imposed


@pytest.mark.parametrize(("left_s", "passed_on_s"), [(10.0, 9.0), (0.0, 0.0), (None, 27.0), (9.2e18, 27.0)])
def test_what_is_left_less_a_margin_is_passed_on(left_s: float | None, passed_on_s: float):
    assert remaining_s(FixedContext(left_s), margin=0.1) == pytest.approx(passed_on_s)

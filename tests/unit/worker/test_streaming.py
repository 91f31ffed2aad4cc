"""Streams: answers keep the order of the requests, and a broken stream leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import pytest

from servemesh.errors import InvalidError
from servemesh.worker.service.streaming import in_order, together


async def requests(*values: int, error: Exception | None = None) -> AsyncIterator[int]:
    for value in values:
        yield value
    if error is not None:
        raise error


async def test_answers_keep_the_order_of_the_requests_although_later_ones_are_done_first() -> None:
    last_done = asyncio.Event()

    async def answered(value: int) -> int:
        if value < 2:
            await last_done.wait()
        else:
            last_done.set()
        return value * 10

    async with asyncio.timeout(5), aclosing(in_order(requests(0, 1, 2), answered, 8)) as answers:
        assert [answer async for answer in answers] == [0, 10, 20]


async def test_only_so_many_requests_are_worked_on_ahead() -> None:
    begun, go = [], asyncio.Event()

    async def answered(value: int) -> int:
        begun.append(value)
        await go.wait()
        return value

    async def collected() -> list[int]:
        async with aclosing(in_order(requests(*range(20)), answered, 2)) as answers:
            return [answer async for answer in answers]

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        collecting = group.create_task(collected())
        for _ in range(50):
            await asyncio.sleep(0)
        assert 0 < len(begun) <= 4
        go.set()
    assert collecting.result() == list(range(20))


async def test_an_error_of_the_stream_comes_after_the_answers_before_it() -> None:
    async def answered(value: int) -> int:
        return value

    got: list[int] = []
    with pytest.raises(InvalidError):
        await collect(requests(1, 2, error=InvalidError("bad")), answered, got)
    assert got == [1, 2]


async def test_an_error_of_an_answer_ends_the_stream() -> None:
    async def answered(value: int) -> int:
        if value == 2:
            raise InvalidError("bad")
        return value

    got: list[int] = []
    with pytest.raises(InvalidError):
        await collect(requests(1, 2, 3), answered, got)
    assert got == [1]


async def collect(
    stream: AsyncIterator[int], answered: Callable[[int], Awaitable[int]], got: list[int]
) -> None:
    async with aclosing(in_order(stream, answered, 8)) as answers:
        async for answer in answers:
            got.append(answer)  # noqa: PERF401 - the answers before an error are wanted


async def test_a_caller_who_leaves_cancels_what_is_worked_on() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def answered(value: int) -> int:
        if value == 1:
            return value
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return value

    async with asyncio.timeout(5):
        async with aclosing(in_order(requests(1, 2), answered, 8)) as answers:
            assert await anext(answers) == 1
            await begun.wait()
        assert cancelled.is_set()


async def test_answers_that_are_ready_together_come_together_and_do_not_wait_for_later_ones() -> None:
    go = asyncio.Event()

    async def answered(value: int) -> int:
        if value == 2:
            await go.wait()
        return value * 10

    async with asyncio.timeout(5), aclosing(together([0, 1, 2, 3], answered)) as answers:
        assert await anext(answers) == [0, 10]
        go.set()
        assert [several async for several in answers] == [[20, 30]]


async def test_whoever_leaves_cancels_what_is_still_worked_on_together() -> None:
    ended: list[int] = []

    async def answered(value: int) -> int:
        try:
            if value:
                await asyncio.Event().wait()
        finally:
            ended.append(value)
        return value

    async with asyncio.timeout(5):
        answers = together([0, 1, 2], answered)
        assert await anext(answers) == [0]
        await answers.aclose()
    assert sorted(ended) == [0, 1, 2]

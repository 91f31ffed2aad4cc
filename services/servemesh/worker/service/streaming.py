"""Answers several requests side by side and yields the answers in the order of the requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

RequestT = TypeVar("RequestT")
AnswerT = TypeVar("AnswerT")


async def in_order(
    requests: AsyncIterable[RequestT], answered: Callable[[RequestT], Awaitable[AnswerT]], ahead_max: int
) -> AsyncGenerator[AnswerT, None]:
    """Yield an answer for each request; at most `ahead_max` are worked on before the first is taken.

    An error of `requests` or of `answered` ends the stream, after the answers of the requests before it.
    Whoever iterates must close the iterator; requests that are still worked on are then cancelled.
    """
    ahead: asyncio.Queue[asyncio.Task[AnswerT | Exception] | Exception | None] = asyncio.Queue(ahead_max)

    async def outcome(request: RequestT) -> AnswerT | Exception:
        try:
            return await answered(request)
        except Exception as error:
            return error

    async def read() -> None:
        try:
            async for request in requests:
                await ahead.put(group.create_task(outcome(request)))
        except Exception as error:
            await ahead.put(error)
        else:
            await ahead.put(None)

    failure: Exception | None = None
    try:
        async with asyncio.TaskGroup() as group:
            reader = group.create_task(read())
            while failure is None and (following := await ahead.get()) is not None:
                answer = following if isinstance(following, Exception) else await following
                if isinstance(answer, Exception):
                    failure = answer
                else:
                    yield answer
            _cancel(reader, ahead)
    except* GeneratorExit:
        pass  # whoever iterated has left; the group has cancelled the rest
    if failure is not None:
        raise failure


async def together(
    requests: Sequence[RequestT], answered: Callable[[RequestT], Coroutine[Any, Any, AnswerT]]
) -> AsyncGenerator[list[AnswerT], None]:
    """Yield the answers in order, those together that are ready together; all requests are worked on at once.

    Whoever iterates must close the iterator; requests that are still worked on are then cancelled.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(answered(request)) for request in requests]
            ready: list[AnswerT] = []
            for task in tasks:
                if ready and not task.done():
                    yield ready
                    ready = []
                ready.append(await task)
            yield ready
    except* GeneratorExit:
        pass  # whoever iterated has left; the group has cancelled the rest


def _cancel(reader: asyncio.Task[None], ahead: asyncio.Queue[Any]) -> None:
    reader.cancel()
    while not ahead.empty():
        following = ahead.get_nowait()
        if isinstance(following, asyncio.Task):
            following.cancel()

"""Waiting for a condition with a deadline, instead of sleeping for a guess."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

_POLL_S = 0.02


async def eventually(
    condition: Callable[[], bool | Awaitable[bool]],
    timeout_s: float = 30.0,
    what: str | Callable[[], str] = "",
) -> None:
    """Return as soon as the condition holds; AssertionError when it does not within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = condition()
        if await answer if inspect.isawaitable(answer) else answer:
            return
        if time.monotonic() > deadline:
            raise AssertionError(
                f"not within {timeout_s} s: {(what() if callable(what) else what) or _source(condition)}"
            )
        await asyncio.sleep(_POLL_S)


def blocking_until(
    condition: Callable[[], bool], timeout_s: float = 30.0, what: str | Callable[[], str] = ""
) -> None:
    """Like `eventually`, for code outside an event loop."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(
                f"not within {timeout_s} s: {(what() if callable(what) else what) or _source(condition)}"
            )
        time.sleep(_POLL_S)


def _source(condition: Callable[[], object]) -> str:
    try:
        return inspect.getsource(condition).strip()
    except (OSError, TypeError):
        return repr(condition)

"""The calls in flight: how many there may be, and how they end when the server stops."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

from servemesh.errors import ExpiredError, OverloadedError, UnavailableError

DRAIN_RETRY_S = 0.0  # another worker can take the call at once
OVERLOAD_RETRY_S = 0.1
_NEVER_S = 1e9  # grpc's ways of saying "no deadline" are all larger


class CallsInFlight:
    """Counts calls in, refuses them when full or draining, and lets a stop wait for the last."""

    def __init__(self, calls_max: int) -> None:
        self._calls_max = calls_max
        self._draining = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    def enter(self) -> asyncio.Task[Any]:
        """Count the current task in; OverloadedError when full, UnavailableError while draining."""
        if self._draining:
            raise UnavailableError(
                "this process is stopping; send the call again",
                reason="DRAINING",
                retry_after_s=DRAIN_RETRY_S,
            )
        if len(self._tasks) >= self._calls_max:
            raise OverloadedError(
                f"{self._calls_max} calls are in flight here, the limit",
                reason="CALLS_IN_FLIGHT",
                retry_after_s=OVERLOAD_RETRY_S,
                calls_max=self._calls_max,
            )
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        return task

    def leave(self, task: asyncio.Task[Any]) -> None:
        """Count a call out."""
        self._tasks.discard(task)
        if self._draining and not self._tasks:
            self._idle.set()

    async def drain(self, grace_s: float) -> int:
        """Refuse new calls, wait for those in flight, interrupt what is left; return how many that were."""
        self._draining = True
        if not self._tasks:
            return 0
        self._idle.clear()
        try:
            async with asyncio.timeout(grace_s):
                await self._idle.wait()
        except TimeoutError:
            left = list(self._tasks)
            for task in left:
                task.cancel()
            return len(left)
        return 0


class Deadline:
    """Ends a unary call that its client would let run too long. Entering costs a timer only then."""

    __slots__ = ("_allowed_s", "_expired", "_timer")

    def __init__(self, remaining_s: float | None, default_s: float, max_s: float) -> None:
        self._expired = False
        self._timer: asyncio.TimerHandle | None = None
        if remaining_s is None or remaining_s > _NEVER_S:
            self._allowed_s: float | None = default_s
        else:
            self._allowed_s = max_s if remaining_s > max_s else None

    def __enter__(self) -> None:
        if self._allowed_s is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._allowed_s, self._expire, asyncio.current_task())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is None:
            return
        self._timer.cancel()
        if self._expired and kind is asyncio.CancelledError:
            raise ExpiredError(
                f"the call ran {self._allowed_s} s, the longest this server allows for its deadline",
                reason="DEADLINE_IMPOSED",
                allowed_s=self._allowed_s,
            ) from None

    def _expire(self, task: asyncio.Task[Any]) -> None:
        self._expired = True
        task.cancel()

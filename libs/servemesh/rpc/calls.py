"""The calls in flight: how many there may be, and how they end when the server stops."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from servemesh.errors import ExpiredError, OverloadedError, UnavailableError

DRAIN_RETRY_S = 0.0  # another worker can take the call at once
OVERLOAD_RETRY_S = 0.1
NEVER_S = 1e9  # grpc's ways of saying "no deadline" are all larger


class Interruptible(Protocol):
    """A call under way: the task that works on it, or what stands for it where there is no task."""

    def cancel(self) -> object:
        """End it before its time."""


class CallsInFlight:
    """Counts calls in, refuses them when full or draining, and lets a stop wait for the last."""

    def __init__(self, calls_max: int) -> None:
        self._calls_max = calls_max
        self._draining = False
        self._calls: set[Interruptible] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    def enter_task(self) -> asyncio.Task[Any]:
        """Count the current task in, as `enter` does."""
        task = asyncio.current_task()
        assert task is not None
        self.enter(task)
        return task

    def enter(self, call: Interruptible) -> None:
        """Count a call in; OverloadedError when full, UnavailableError while draining."""
        if self._draining:
            raise UnavailableError(
                "this process is stopping; send the call again",
                reason="DRAINING",
                retry_after_s=DRAIN_RETRY_S,
            )
        if len(self._calls) >= self._calls_max:
            raise OverloadedError(
                f"{self._calls_max} calls are in flight here, the limit",
                reason="CALLS_IN_FLIGHT",
                retry_after_s=OVERLOAD_RETRY_S,
                calls_max=self._calls_max,
            )
        self._calls.add(call)

    def leave(self, call: Interruptible) -> None:
        """Count a call out."""
        self._calls.discard(call)
        if self._draining and not self._calls:
            self._idle.set()

    async def drain(self, grace_s: float) -> int:
        """Refuse new calls, wait for those in flight, interrupt what is left; return how many that were."""
        self._draining = True
        if not self._calls:
            return 0
        self._idle.clear()
        try:
            async with asyncio.timeout(grace_s):
                await self._idle.wait()
        except TimeoutError:
            left = list(self._calls)
            for call in left:
                call.cancel()
            return len(left)
        return 0


class ImposedDeadline:
    """Ends tasks that run longer than `allowed_s`: ExpiredError instead of their CancelledError.

    All tasks get the same time, so that they expire in the order they came, and one timer serves them all:
    a call pays for a dictionary entry, not for a timer of its own.
    """

    def __init__(self, allowed_s: float) -> None:
        self._allowed_s = allowed_s
        self._expires_at_s: dict[asyncio.Task[Any], float] = {}
        self._expired: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, task: asyncio.Task[Any]) -> None:
        """Start the clock of `task`."""
        loop = task.get_loop()
        self._expires_at_s[task] = expires_at_s = loop.time() + self._allowed_s
        if self._timer is None:
            self._timer = loop.call_at(expires_at_s, self._expire, loop)

    def leave(self, task: asyncio.Task[Any]) -> None:
        """Stop the clock of `task`; ExpiredError if it had run out."""
        self._expires_at_s.pop(task, None)
        if task in self._expired:
            self._expired.discard(task)
            raise ExpiredError(
                f"the call ran for {self._allowed_s} s, the longest that this server allows",
                reason="DEADLINE_IMPOSED",
                allowed_s=self._allowed_s,
            )

    def close(self) -> None:
        """Drop the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now_s = loop.time()
        for task, expires_at_s in list(self._expires_at_s.items()):
            if expires_at_s > now_s:
                self._timer = loop.call_at(expires_at_s, self._expire, loop)
                return
            del self._expires_at_s[task]
            self._expired.add(task)
            task.cancel()


class Deadlines:
    """Which deadline a server imposes on a call: the default, the maximum, or none beside the client's own."""

    def __init__(self, default_s: float, max_s: float) -> None:
        self._max_s = max_s
        self._default = ImposedDeadline(default_s)
        self._max = ImposedDeadline(max_s)

    def imposed(self, remaining_s: float | None) -> ImposedDeadline | None:
        """Return what to enter, given what the client left us."""
        if remaining_s is None or remaining_s > NEVER_S:
            return self._default
        return self._max if remaining_s > self._max_s else None

    def close(self) -> None:
        """Drop the timers."""
        self._default.close()
        self._max.close()

"""Histories under a virtual clock: a seed decides everything, and one command replays the seed that failed.

    SERVEMESH_SIMULATION_SEED=17 .venv/bin/pytest tests/unit/simulation/test_batching.py

replays history 17. SERVEMESH_SIMULATION_FIRST and SERVEMESH_SIMULATION_TIMES try other seeds, and more of them.
"""

from __future__ import annotations

import asyncio
import heapq
import inspect
import os
import random
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

STORY_LINES = 40
STEPS_MAX = 50_000
VARIABLE = "SERVEMESH_SIMULATION_SEED"


@dataclass(slots=True)
class History:
    """One history: its source of chance, and what happened in it lately."""

    seed: int
    chance: random.Random = field(init=False)
    story: deque[str] = field(default_factory=lambda: deque(maxlen=STORY_LINES))
    now_s: Callable[[], float] = lambda: 0.0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def tell(self, *words: object) -> None:
        """Remember something for whoever reads the failure."""
        self.story.append(f"{self.now_s():9.4f}  " + " ".join(map(str, words)))

    def happens(self, probability: float) -> bool:
        """Whether it happens this time."""
        return self.chance.random() < probability


Plot = Callable[[History], Coroutine[Any, Any, None] | None]


def explore(plot: Plot, *, histories: int) -> None:
    """Live through so many histories; AssertionError with the seed of the first that breaks an invariant."""
    if VARIABLE in os.environ:
        replay(plot, int(os.environ[VARIABLE]))
        return
    first = int(os.environ.get("SERVEMESH_SIMULATION_FIRST", "0"))
    times = int(os.environ.get("SERVEMESH_SIMULATION_TIMES", "1"))
    for seed in range(first, first + histories * times):
        replay(plot, seed)


def replay(plot: Plot, seed: int) -> None:
    """Live through the history of one seed."""
    history = History(seed)
    try:
        if inspect.iscoroutinefunction(plot):
            _live_through(plot, history)
        else:
            plot(history)
    except Exception as error:
        test = os.environ.get("PYTEST_CURRENT_TEST", "").split(" ")[0]
        story = "\n".join(history.story)
        raise AssertionError(
            f"seed {seed}: {error!r}\nreplay: {VARIABLE}={seed} .venv/bin/pytest '{test}'\n{story}"
        ) from error


def _live_through(plot: Plot, history: History) -> None:
    loop = VirtualLoop(history.chance)
    history.now_s = loop.time
    try:
        coroutine = plot(history)
        assert coroutine is not None
        loop.run_until_complete(coroutine)
        assert not loop.strange, f"an exception that nobody took: {loop.strange}"
        assert not (left := asyncio.all_tasks(loop)), f"tasks were left behind: {left}"
    finally:
        loop.close()


class StandstillError(AssertionError):
    """Somebody waits for what will never happen, or what happens never ends."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop without files, sockets and threads, whose clock jumps to the next timer."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._selector = self  # what BaseEventLoop asks for events, and how long it waits for them
        self._now_s = 0.0
        self._steps = 0
        self._chance = chance
        self.strange: list[Any] = []
        self.set_exception_handler(lambda _, context: self.strange.append(context))

    def time(self) -> float:
        """Return the virtual time."""
        return self._now_s

    def select(self, timeout_s: float | None) -> list[Any]:
        """Nothing ever comes from outside: let the time pass."""
        if timeout_s is None:
            raise StandstillError("everybody waits, and nothing will ever happen")
        self._steps += 1
        if self._steps > STEPS_MAX:
            raise StandstillError(f"no end after {STEPS_MAX} turns of the event loop")
        self._now_s += timeout_s
        return []

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Call it a little later, in one moment; a caller who has left does not hear of it."""
        return asyncio.wrap_future(VirtualPool(self, self._chance).submit(func, *args), loop=self)

    def _process_events(self, events: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""


class VirtualPool(Executor):
    """Threads of virtual time: work is done in one moment between its start and its end."""

    def __init__(self, loop: asyncio.AbstractEventLoop, chance: random.Random, *, longest_s: float = 0.02):
        self._loop = loop
        self._chance = chance
        self._longest_s = longest_s

    def submit(self, function: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        """Do it later; its result is known later still."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        thinking_s, telling_s = (self._chance.random() * self._longest_s / 2 for _ in range(2))
        self._loop.call_later(thinking_s, self._work, future, telling_s, lambda: function(*args, **options))
        return future

    def _work(self, future: Future[Any], telling_s: float, work: Callable[[], Any]) -> None:
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - it belongs to whoever waits
            self._loop.call_later(telling_s, future.set_exception, error)
        else:
            self._loop.call_later(telling_s, future.set_result, result)


class Agenda:
    """What is to happen when, for histories without an event loop."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def after(self, span_s: float, action: Callable[[], None]) -> None:
        """Have something happen later."""
        self._count += 1
        heapq.heappush(self._due, (self.now_s + span_s, self._count, action))

    def run_until(self, end_s: float, then: Callable[[], None]) -> None:
        """Let happen what is due by then; `then` is called after each."""
        while self._due and self._due[0][0] <= end_s:
            self.now_s, _, action = heapq.heappop(self._due)
            action()
            then()
        self.now_s = end_s

"""The life of a process: its event loop, background loops, clock and waits, and the signal that ends it."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NoReturn, Protocol, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from servemesh.errors import ServemeshError

EXIT_REFUSED = 1
EXIT_USAGE = 64

Ready = Callable[[str], None]
Stop = Callable[[], Awaitable[object]]
SettingsT = TypeVar("SettingsT", bound=BaseSettings)


class Clock(Protocol):
    """The time, for those who must not ask the machine themselves."""

    def now(self) -> datetime:
        """Return the wall clock in UTC."""

    def monotonic_s(self) -> float:
        """Return seconds that never go back, for spans and deadlines."""

    async def sleep(self, span_s: float) -> None:
        """Return after `span_s`."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the wall clock in UTC."""
        return datetime.fromtimestamp(time.time_ns() / 1e9, UTC)

    def monotonic_s(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    async def sleep(self, span_s: float) -> None:
        """Return after `span_s`."""
        await asyncio.sleep(span_s)


def run(settings_type: type[SettingsT], main: Callable[[SettingsT], Coroutine[Any, Any, None]]) -> NoReturn:
    """Run `main` with what the environment says, on uvloop where it is installed, then exit.

    0 when it returns; 64 for a setting that is wrong and 1 for an error of ours, each with one line on stderr.
    """
    try:
        settings = settings_type()
    except ValidationError as error:
        sys.stderr.write(f"{wrong_setting(settings_type, error)}\n")
        sys.exit(EXIT_USAGE)
    try:
        import uvloop
    except ImportError:
        runner = asyncio.Runner()
    else:
        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    try:
        with runner:
            runner.run(main(settings))
    except ServemeshError as error:
        sys.stderr.write(f"{error.reason}: {error.message}\n")
        sys.exit(EXIT_REFUSED)
    sys.exit(0)


def wrong_setting(settings_type: type[BaseSettings], error: ValidationError) -> str:
    """Return the environment variable that is wrong, and why; never its value, which may be a secret."""
    first = error.errors()[0]
    name = "_".join(str(part) for part in first["loc"]).upper()
    prefix = settings_type.model_config.get("env_prefix", "")
    return f"{name if name.startswith(prefix) else prefix + name}: {first['msg']}"


def backoff_s(chance: random.Random, *, first_s: float = 0.1, longest_s: float = 5.0) -> Iterator[float]:
    """Yield waits without end: each random between 0 and a bound that doubles from `first_s` to `longest_s`."""
    bound_s = first_s
    while True:
        yield chance.uniform(0.0, bound_s)
        bound_s = min(bound_s * 2, longest_s)


def ignored(address: str) -> None:
    """Take the address where somebody serves, and tell nobody."""


@asynccontextmanager
async def background(*loops: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Run `loops` for the length of the block. If one fails, the block is cancelled and its error raised.

    A single error comes out as it is, several as a group.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(loop(), name=loop.__qualname__) for loop in loops]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
    except BaseExceptionGroup as failed:
        if len(failed.exceptions) == 1:
            raise failed.exceptions[0] from failed.exceptions[0].__cause__
        raise


async def until_signalled() -> None:
    """Return at the first SIGTERM or SIGINT; a second one ends the process at once."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, stopped.set)
    try:
        await stopped.wait()
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

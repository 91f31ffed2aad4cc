"""Clocks, background loops, waits and signals of a process."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from itertools import islice

import pytest

from servemesh.errors import UnavailableError
from servemesh.lifecycle import Clock, SystemClock, background, backoff_s, until_signalled
from tests.harness.clock import SteppedClock


@pytest.mark.parametrize("clock", [SystemClock(), SteppedClock()], ids=["system", "stepped"])
async def test_a_clock_never_goes_back(clock: Clock):
    before, before_s = clock.now(), clock.monotonic_s()
    await clock.sleep(0)
    assert clock.now() >= before
    assert clock.monotonic_s() >= before_s
    assert before.tzinfo is not None


async def test_a_stepped_clock_wakes_sleepers_in_order():
    clock, woken = SteppedClock(), []

    async def sleeper(span_s: float) -> None:
        await clock.sleep(span_s)
        woken.append((span_s, clock.monotonic_s()))

    async with asyncio.TaskGroup() as group:
        for span_s in (3, 1, 2):
            group.create_task(sleeper(span_s))
        await clock.advance(2.5)
        assert woken == [(1, 1), (2, 2)]
        await clock.advance(1)
    assert woken == [(1, 1), (2, 2), (3, 3)]


async def test_loops_end_with_their_block():
    ended = asyncio.Event()

    async def loop() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with background(loop):
        await asyncio.sleep(0)
    assert ended.is_set()


async def test_a_loop_that_fails_cancels_the_block_and_its_error_comes_out():
    async def loop() -> None:
        raise UnavailableError("the bus is away")

    with pytest.raises(UnavailableError, match="the bus is away"):
        async with background(loop):
            await asyncio.Event().wait()


async def test_an_error_of_the_block_comes_out_as_it_is():
    async def loop() -> None:
        await asyncio.Event().wait()

    with pytest.raises(KeyError):
        async with background(loop):
            raise KeyError("x")


async def test_a_signal_ends_the_wait():
    asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(5):
        before = signal.getsignal(signal.SIGTERM)
        try:
            await until_signalled()
        finally:
            signal.signal(signal.SIGTERM, before)


def test_waits_are_jittered_and_their_bound_doubles_up_to_the_longest():
    waits = list(islice(backoff_s(random.Random(7), first_s=0.1, longest_s=1.0), 200))
    bounds = [0.1, 0.2, 0.4, 0.8, *[1.0] * 196]
    assert all(0 <= wait <= bound for wait, bound in zip(waits, bounds, strict=True))
    assert max(waits) > 0.9
    assert len(set(waits)) > 190


@pytest.mark.parametrize(
    ("port", "body", "code", "told"),
    [
        ("1", "pass", 0, ""),
        (
            "1",
            "raise UnavailableError('port is taken', reason='ADDRESS_TAKEN')",
            1,
            "ADDRESS_TAKEN: port is taken",
        ),
        (
            "secret",
            "pass",
            64,
            "SERVEMESH_X_PORT: Input should be a valid integer, unable to parse string as an integer",
        ),
    ],
)
def test_run_exits_with_a_code_and_one_line(port: str, body: str, code: int, told: str):
    program = (
        "from pydantic_settings import BaseSettings, SettingsConfigDict\n"
        "from servemesh.lifecycle import run\nfrom servemesh.errors import UnavailableError\n"
        "class Settings(BaseSettings):\n"
        "    model_config = SettingsConfigDict(env_prefix='SERVEMESH_X_')\n"
        "    port: int\n"
        f"async def main(settings):\n    {body}\nrun(Settings, main)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "SERVEMESH_X_PORT": port},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr.strip(), done.stdout) == (code, told, "")

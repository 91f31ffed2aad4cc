"""What stands between clients and workers fails: one of two Envoys, and the gateway that steers them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from servemesh.client import AsyncClient, Client
from servemesh.errors import ServemeshError
from tests.faults.conftest import MODEL
from tests.harness import models
from tests.harness.faults import SEED, FaultMesh, lasting
from tests.harness.marks import Marks
from tests.harness.second_edge import second_edge
from tests.harness.steady_load import SteadyLoad
from tests.harness.waiting import blocking_until

ROW = {"x": np.zeros((1, 512), np.float32)}
OTHER = "other"
DEATHS = int(lasting(1, 5))
"""Of each Envoy by each signal."""
CHANGES = int(lasting(5, 60))
BETWEEN = 40
"""Calls of each client between two deaths."""


class Callers:
    """Programs that use the SDK with two addresses: threads that share a `Client`, and one with an `AsyncClient`."""

    THREADS = 2

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses
        self._stop = threading.Event()
        self.durations_s: list[float] = []
        self.errors: list[str] = []

    @contextlib.contextmanager
    def calling(self) -> Iterator[None]:
        """Make calls for the length of the block."""
        with Client(self._addresses) as client, ThreadPoolExecutor(self.THREADS + 1) as pool:
            running = [pool.submit(self._call, client) for _ in range(self.THREADS)]
            running.append(pool.submit(asyncio.run, self._call_async()))
            try:
                yield
            finally:
                self._stop.set()
        for future in running:
            future.result()

    def until_called(self, count: int) -> None:
        """Wait until so many more calls have ended, whichever program's."""
        until = len(self.durations_s) + count
        blocking_until(lambda: len(self.durations_s) >= until, 60, "calls go on")

    def _call(self, client: Client) -> None:
        while not self._stop.is_set():
            with self._timed():
                client.infer(MODEL, ROW)

    async def _call_async(self) -> None:
        async with AsyncClient(self._addresses) as client:
            while not self._stop.is_set():
                with self._timed():
                    await client.infer(MODEL, ROW)

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        start_s = time.monotonic()
        try:
            yield
        except ServemeshError as error:
            self.errors.append(f"{error.reason}: {error.message}")
        self.durations_s.append(time.monotonic() - start_s)


@pytest.mark.timeout(120 + 90 * DEATHS)
def test_the_sdk_goes_on_at_the_other_envoy_when_one_dies(
    fault_mesh: FaultMesh, marks: Marks, tmp_path: Path
) -> None:
    with second_edge(fault_mesh, tmp_path) as second:
        callers = Callers(fault_mesh.address, second.address)
        with callers.calling():
            for number in (signal.SIGKILL, signal.SIGTERM) * DEATHS:
                callers.until_called(BETWEEN)
                fault_mesh.until_back(fault_mesh.kill("envoy", number=number))
                fault_mesh.until_whole()
                callers.until_called(BETWEEN)
                second.envoy.process.send(number)
                second.envoy.process.wait()
                second.envoy.start()
                second.until_whole()
            callers.until_called(BETWEEN)
    count, slowest_s = len(callers.durations_s), max(callers.durations_s)
    print(f"{count} calls of the SDK, the slowest took {slowest_s:.2f} s; {callers.errors[:5]}")
    what = f"failed of {count} calls of the SDK, one of two Envoys killed {4 * DEATHS} times"
    marks.must("R06", what, len(callers.errors), at_most=0)
    marks.told("R06", "the SDK's slowest call while an Envoy dies", slowest_s, unit="s", at_most=1)


@pytest.mark.timeout(120 + 15 * CHANGES)
def test_a_gateway_that_is_killed_while_tables_change_fails_no_call(
    fault_mesh: FaultMesh, load: SteadyLoad, marks: Marks, tmp_path: Path
) -> None:
    chance = random.Random(SEED)
    with Client(fault_mesh.address) as client:
        client.push(OTHER, models.saved(models.identity(), tmp_path))
        before, start_s = fault_mesh.tables_taken(), time.monotonic()
        for change in range(CHANGES):
            due_s = time.monotonic() + 1.0
            if change % 2:
                client.undeploy(OTHER)
            else:
                client.deploy(OTHER, replicas=chance.randint(1, 3))
            if change % 3 == 1:
                number = chance.choice((signal.SIGKILL, signal.SIGTERM))
                fault_mesh.until_back(fault_mesh.kill("gateway", number=number))
            blocking_until(lambda due_s=due_s: time.monotonic() >= due_s, 5)  # type: ignore[misc]
        if CHANGES % 2:
            client.undeploy(OTHER)
    load.until_all_ended()
    during, taken = load.figures(start_s), fault_mesh.tables_taken() - before
    print(f"{CHANGES} changes, {taken} tables (seed {SEED}): {during}; {during.faults[:5]}")
    what = f"failed of {during.calls} calls, the gateway killed and a change each second, {CHANGES} times"
    marks.must("R06", what, len(during.faults), at_most=0)
    marks.told("R06", "tables that Envoy took meanwhile ÷ changes", taken / CHANGES, at_least=1)

"""Calls at a steady rate through the published ports, and changes that the mesh acknowledges, from threads."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from servemesh.client import Client
from servemesh.errors import ServemeshError
from tests.harness.models import mlp
from tests.harness.waiting import blocking_until

RATE_PER_S = 40
THREADS = 16
CALL_S = 20.0
ENDED_S = 60.0
CHANGE_S = 5.0
CHANGE_INTERVAL_S = 0.1
PUSH_EVERY = 5


@dataclass(slots=True)
class Tally:
    """What became of the calls."""

    durations_s: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def until_ended(self, calls: int) -> None:
        """Wait until so many more calls have ended, well or not."""
        until = len(self.durations_s) + len(self.faults) + calls
        blocking_until(
            lambda: len(self.durations_s) + len(self.faults) >= until, ENDED_S, f"{calls} more calls ended"
        )

    def __str__(self) -> str:
        calls = len(self.durations_s) + len(self.faults)
        slowest_s = max(self.durations_s, default=0.0)
        return f"{len(self.faults)} of {calls} calls failed, slowest {slowest_s:.2f} s"


@contextlib.contextmanager
def load(addresses: Sequence[str], model: str, row: np.ndarray, right: int) -> Iterator[Tally]:
    """Call `model` through the SDK, with all the addresses, for the length of the block; each answer is checked."""
    tally, stopped, lock = Tally(), threading.Event(), threading.Lock()

    def call(client: Client) -> None:
        start_s = time.monotonic()
        try:
            label = int(client.infer(model, {"image": row}, timeout_s=CALL_S)["label"][0])
            fault = "" if label == right else f"answered {label}"
        except ServemeshError as error:
            fault = f"{error.reason}: {error.message}"
        with lock:
            if fault:
                tally.faults.append(fault)
            else:
                tally.durations_s.append(time.monotonic() - start_s)

    def keep_calling(clients: Sequence[Client], pool: ThreadPoolExecutor) -> None:
        due_s, turns = time.monotonic(), itertools.cycle(clients)
        while not stopped.wait(max(0.0, due_s - time.monotonic())):
            pool.submit(call, next(turns))
            due_s += 1 / RATE_PER_S

    with contextlib.ExitStack() as stack:
        # Every second call begins at the other edge.
        orders = (list(addresses), list(reversed(addresses)))
        clients = [stack.enter_context(Client(order)) for order in orders]
        pool = stack.enter_context(ThreadPoolExecutor(THREADS))
        thread = threading.Thread(target=keep_calling, args=(clients, pool))
        thread.start()
        try:
            yield tally
        finally:
            stopped.set()
            thread.join()


@dataclass(slots=True)
class Acknowledged:
    """The changes that the registry has said it made."""

    aliases: dict[str, int] = field(default_factory=dict)
    pushed: list[int] = field(default_factory=list)
    refused: int = 0


@contextlib.contextmanager
def changes(
    addresses: Sequence[str], ledger: str, versions: Sequence[int], pushes: str
) -> Iterator[Acknowledged]:
    """Set one alias of `ledger` after the other, and push a Version of `pushes` now and then, for the length of the
    block; keep what was acknowledged.
    """
    kept, stopped = Acknowledged(), threading.Event()

    def change(client: Client, number: int) -> None:
        if number % PUSH_EVERY == 0:
            kept.pushed.append(push_something(client, pushes, timeout_s=CHANGE_S))
            return
        alias, version = f"a{time.time_ns()}", versions[number % len(versions)]
        client.set_alias(ledger, alias, version, timeout_s=CHANGE_S)
        kept.aliases[alias] = version

    def keep_changing() -> None:
        with Client(addresses) as client:
            for number in itertools.count():
                if stopped.wait(CHANGE_INTERVAL_S):
                    return
                try:
                    change(client, number)
                except ServemeshError:
                    kept.refused += 1

    thread = threading.Thread(target=keep_changing)
    thread.start()
    try:
        yield kept
    finally:
        stopped.set()
        thread.join()


def push_something(client: Client, model: str, *, timeout_s: float) -> int:
    """Push a small model that nobody has seen before, and return its Version."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(mlp(width=16, seed=time.time_ns()).SerializeToString())
        return client.push(model, path, timeout_s=timeout_s).version

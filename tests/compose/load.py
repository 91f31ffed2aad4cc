"""Calls at a steady rate through the published ports, and changes that the mesh acknowledges, from threads."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from servemesh.client import Client
from servemesh.errors import ServemeshError

RATE_PER_S = 40
THREADS = 16
CALL_S = 20.0


@dataclass(slots=True)
class Tally:
    """What became of the calls."""

    durations_s: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

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
    refused: int = 0


@contextlib.contextmanager
def aliases_moved(addresses: Sequence[str], model: str, versions: Sequence[int]) -> Iterator[Acknowledged]:
    """Set one alias after the other, for the length of the block, and keep which of them were acknowledged."""
    kept, stopped = Acknowledged(), threading.Event()

    def keep_writing() -> None:
        with Client(addresses) as client:
            for number in itertools.count():
                if stopped.wait(0.02):
                    return
                alias, version = f"a{time.time_ns()}-{number}", versions[number % len(versions)]
                try:
                    client.set_alias(model, alias, version, timeout_s=2.0)
                except ServemeshError:
                    kept.refused += 1
                else:
                    kept.aliases[alias] = version

    thread = threading.Thread(target=keep_writing)
    thread.start()
    try:
        yield kept
    finally:
        stopped.set()
        thread.join()

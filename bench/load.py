"""Closed and open loops of calls, from one thread, over a few connections."""

from __future__ import annotations

import gc
import random
import time
from collections import deque
from dataclasses import dataclass

from bench.connection import CallError, Connection, turn
from bench.workloads import STREAM, UNARY

CONNECTIONS_MAX = 4
SILENCE_MAX_S = 60.0
SEED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """So many calls in flight, or so many begun in a second; and for how long."""

    in_flight: int = 0
    rate: float = 0.0
    streams: bool = False
    seconds: float = 1.0
    warmup_s: float = 0.25

    def __str__(self) -> str:
        loop = f"{self.in_flight} in flight" if self.in_flight else f"{self.rate:g}/s offered"
        return f"{loop}, streams" if self.streams else loop


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the client saw of one round. `calls` are all; the rest is told without those of the warm-up."""

    calls: int
    calls_per_s: float
    latency_ms_p50: float
    latency_ms_p99: float


class Loop:
    """One round of load. Times are those of `time.perf_counter`."""

    def __init__(self, address: str, body: bytes, load: Load) -> None:
        self._load = load
        self._body = body
        path = STREAM if load.streams else UNARY
        count = min(CONNECTIONS_MAX, load.in_flight or CONNECTIONS_MAX)
        self._started: list[dict[int, float]] = [{} for _ in range(count)]
        self._free: deque[tuple[int, int]] = (
            deque()
        )  # calls of a closed loop that may go on: connection, stream
        self._answered: list[tuple[float, float]] = []  # when, after how long
        self._connections = [
            Connection(address, path, lambda stream, number=number: self._on_answer(number, stream))
            for number in range(count)
        ]

    def run(self) -> Seen:
        """Run it; CallError if a single call fails."""
        gc.collect()
        gc.disable()
        try:
            start_s = time.perf_counter()
            if self._load.in_flight:
                self._closed(start_s + self._load.warmup_s + self._load.seconds)
            else:
                self._open(start_s)
            return self._seen(start_s + self._load.warmup_s)
        finally:
            gc.enable()
            for connection in self._connections:
                connection.close()

    def _on_answer(self, number: int, stream: int) -> None:
        now_s = time.perf_counter()
        self._answered.append((now_s, now_s - self._started[number].pop(stream)))
        self._free.append((number, stream))

    def _closed(self, stop_s: float) -> None:
        for index in range(self._load.in_flight):
            number = index % len(self._connections)
            stream = self._connections[number].open_stream() if self._load.streams else 0
            self._free.append((number, stream))
        while (now_s := time.perf_counter()) < stop_s:
            while self._free:
                self._begin(*self._free.popleft(), now_s)
            self._turn(stop_s - now_s)

    def _open(self, start_s: float) -> None:
        """Calls begin when it is their time, whether or not others have been answered; all are awaited."""
        random_ = random.Random(SEED)
        due_s, stop_s = start_s, start_s + self._load.warmup_s + self._load.seconds
        begun = 0
        while due_s < stop_s or len(self._answered) < begun:
            now_s = time.perf_counter()
            while due_s <= now_s and due_s < stop_s:
                self._begin(begun % len(self._connections), 0, due_s)
                begun += 1
                due_s += random_.expovariate(self._load.rate)
            self._turn(max(0.0, due_s - now_s) if due_s < stop_s else SILENCE_MAX_S)
            if time.perf_counter() > stop_s + SILENCE_MAX_S:
                raise CallError(f"{begun - len(self._answered)} calls without an answer")

    def _begin(self, number: int, stream: int, at_s: float) -> None:
        connection = self._connections[number]
        if self._load.streams:
            connection.send(stream, self._body)
        else:
            stream = connection.call(self._body)
        self._started[number][stream] = at_s

    def _turn(self, wait_s: float) -> None:
        turn(self._connections, wait_s)

    def _seen(self, from_s: float) -> Seen:
        """Count from the last answer of the warm-up to the last of all, so that no batch is cut in two."""
        before = [at_s for at_s, _ in self._answered if at_s <= from_s]
        counted = sorted(latency_s for at_s, latency_s in self._answered if at_s > from_s)
        if not counted:
            raise CallError("no call was answered in time")
        lasted_s = self._answered[-1][0] - (before[-1] if before else from_s)
        return Seen(
            calls=len(self._answered),
            calls_per_s=len(counted) / lasted_s,
            latency_ms_p50=_quantile(counted, 0.5) * 1e3,
            latency_ms_p99=_quantile(counted, 0.99) * 1e3,
        )


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

"""Measures the cells of a plan: all targets in turn, round after round, so that they share the machine's moods."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.connection import CallError
from bench.load import Load, Loop, Seen
from bench.peers.raw import Raw
from bench.peers.server import Server
from bench.plan import RAW, Cell
from bench.processor import Meters
from bench.workloads import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one target did in one round. `processor_us` is the time of each process for one call."""

    request: str
    load: str
    target: str
    number: int
    calls_per_s: float
    latency_ms_p50: float = 0.0
    latency_ms_p99: float = 0.0
    processor_us: Mapping[str, float]


class Bench:
    """Targets that are up, and the requests that they are asked."""

    def __init__(self, servers: Sequence[Server], requests: Sequence[Request]) -> None:
        self._servers = {server.name: server for server in servers}
        self._meters = {server.name: Meters(server.processes) for server in servers}
        self._requests = {request.name: request for request in requests}
        self._raws: dict[str, Raw] = {}
        self.notes: list[str] = []

    def measure(self, cells: Sequence[Cell], rounds: int) -> Iterator[Round]:
        """Yield each round as it ends. A target that fails is told on stderr and left out."""
        for cell in cells:
            targets = [target for target in cell.targets if target == RAW or target in self._servers]
            for number in range(rounds):
                shift = number % len(targets)
                for target in (*targets[shift:], *targets[:shift]):
                    try:
                        yield self._round(cell, target, number)
                    except (CallError, OSError) as error:
                        self._tell(f"{target}, {cell.request}, {cell.load}: {error}")

    def _round(self, cell: Cell, target: str, number: int) -> Round:
        request = self._requests[cell.request]
        if target == RAW:
            rate, latency, used = self._raw(request).rows_per_s(cell.load.seconds), (0.0, 0.0), {}
        else:
            seen, used = self._loaded(target, request, cell.load)
            rate, latency = seen.calls_per_s, (seen.latency_ms_p50, seen.latency_ms_p99)
        return Round(
            request=cell.request,
            load=str(cell.load),
            target=target,
            number=number,
            calls_per_s=rate,
            latency_ms_p50=latency[0],
            latency_ms_p99=latency[1],
            processor_us=used,
        )

    def _loaded(self, target: str, request: Request, load: Load) -> tuple[Seen, dict[str, float]]:
        server = self._servers[target]
        loop = Loop(server.address, request.body(has_scalars=server.has_scalars), load)
        before_s = self._meters[target].read_s()
        seen = loop.run()
        after_s = self._meters[target].read_s()
        used = {name: (after_s[name] - before_s[name]) / seen.calls * 1e6 for name in after_s}
        return seen, used

    def _raw(self, request: Request) -> Raw:
        if request.name not in self._raws:
            raw = self._raws[request.name] = Raw(request)
            raw.choose_batch()
            self.notes.append(f"onnxruntime alone is best at {request.name} with a batch of {raw.batch}")
        return self._raws[request.name]

    def _tell(self, failure: str) -> None:
        self.notes.append(f"not measured: {failure}")
        print(failure, file=sys.stderr, flush=True)

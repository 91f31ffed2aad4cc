"""What telemetry costs: `python -m bench.metrics.overhead`.

The mesh as `servemesh up` starts it, with one worker, alternately with and without its metrics service, under the tiny
MLP of `make bench`. With it, everything runs that then runs: recorders, samplers, exporters, Envoy's statistics and one
trace in a thousand, and the metrics service on the same processors. Without it only the recorders run, for the pages
of Prometheus.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from bench.load import Load, Loop, Seen
from bench.peers.mesh import our_servers
from bench.workloads import Model, Request
from servemesh.observe.names import CALL_BUCKETS_S
from servemesh.observe.recorder import Recorder
from tests.harness import models

SWITCH = "SERVEMESH_LOCAL_WITH_METRICS"
IN_FLIGHT = 16
OFFERED = 1_500.0  # calls a second of the open loop, for latencies that do not depend on the throughput
SETTLE_S = 30.0  # imports and first sweeps of the metrics service and the console are the start's cost, not telemetry's
RECORDS = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One start of the mesh: closed loop and open loop, to the worker and through Envoy."""

    worker: Seen
    mesh: Seen
    offered: Seen


@contextmanager
def telemetry(is_on: bool) -> Iterator[None]:
    """Have meshes that start in the block send telemetry, or not."""
    os.environ[SWITCH] = "true" if is_on else "false"
    try:
        yield
    finally:
        del os.environ[SWITCH]


def measured(is_on: bool, request: Request, folder: Path, seconds: float) -> Round:
    """Start a mesh, load it, end it."""
    with telemetry(is_on), our_servers([request.model], folder) as ours:
        body = request.body()
        Loop(ours.mesh.address, body, Load(rate=OFFERED, seconds=SETTLE_S)).run()
        closed = Load(in_flight=IN_FLIGHT, seconds=seconds)
        return Round(
            worker=Loop(ours.worker.address, body, closed).run(),
            mesh=Loop(ours.mesh.address, body, closed).run(),
            offered=Loop(ours.mesh.address, body, Load(rate=OFFERED, seconds=seconds)).run(),
        )


def recording_ns() -> float:
    """Return what one observation costs, in nanoseconds, with its share of sorting."""
    recorder, value = Recorder(CALL_BUCKETS_S, unit=1e-9), 150_000
    begin_s = perf_counter()
    for _ in range(RECORDS):
        recorder.observe(value)
    recorder.recorded()
    return (perf_counter() - begin_s) / RECORDS * 1e9


def told(name: str, on: Sequence[float], off: Sequence[float], unit: str, *, more_is_better: bool) -> str:
    """Return a line: medians, and how much worse it is with telemetry."""
    with_, without = statistics.median(on), statistics.median(off)
    worse = (without - with_) / without if more_is_better else (with_ - without) / without
    pairs = sorted((b - a) / b if more_is_better else (a - b) / b for a, b in zip(on, off, strict=True))
    spread = f"{pairs[0]:+.1%} to {pairs[-1]:+.1%}"
    return f"{name:<34}{without:>10.5g} {with_:>10.5g} {unit:<8}{worse:>+7.1%}   pairs {spread}"


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    on: list[Round] = []
    off: list[Round] = []
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        model = Model(name="mlp", path=models.saved(models.mlp(), folder / "mlp"))
        inputs = {"x": np.random.default_rng(0).normal(size=(1, 64)).astype(np.float32)}
        request = Request(name="tiny MLP", model=model, inputs=inputs)
        for number in range(arguments.rounds):
            order = (False, True) if number % 2 == 0 else (True, False)
            for is_on in order:
                place = folder / f"{number}-{is_on}"
                done = measured(is_on, request, place, arguments.seconds)
                (on if is_on else off).append(done)
                print(f"{'with' if is_on else 'without':<8}{done}", file=sys.stderr, flush=True)
    print(f"{'tiny MLP, one worker':<34}{'without':>10} {'with':>10} {'':<8}{'worse':>7}")
    rows: list[tuple[str, str, str, bool]] = [
        ("worker", "calls_per_s", f"worker, {IN_FLIGHT} in flight", True),
        ("mesh", "calls_per_s", f"through Envoy, {IN_FLIGHT} in flight", True),
        ("worker", "latency_ms_p99", "worker p99", False),
        ("mesh", "latency_ms_p99", "through Envoy p99", False),
        ("offered", "latency_ms_p50", f"p50 at {OFFERED:g} calls/s", False),
        ("offered", "latency_ms_p99", f"p99 at {OFFERED:g} calls/s", False),
    ]
    for part, figure, name, more_is_better in rows:
        values = [[getattr(getattr(one, part), figure) for one in side] for side in (on, off)]
        unit = "calls/s" if more_is_better else "ms"
        print(told(name, *values, unit, more_is_better=more_is_better))
    print(f"one observation: {recording_ns():.0f} ns")


if __name__ == "__main__":
    main()

"""What telemetry costs: `python -m bench.metrics.overhead`.

The mesh as `servemesh up` starts it, with one worker, under the tiny MLP of `make bench`; by turns everything runs, and
the metrics service and the console stand still (SIGSTOP). All within one start, because two starts of the same worker
differ by up to a tenth. What telemetry costs inside the worker does not stand still with them, and is timed by itself.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import psutil
from opentelemetry.sdk.trace import TracerProvider

from bench.load import Load, Loop, Seen
from bench.peers.mesh import OurServers, our_servers
from bench.workloads import Model, Request
from examples.demo.mesh import DemoMesh
from servemesh.observe import traces
from servemesh.observe.names import CALL_BUCKETS_S
from servemesh.observe.recorder import Recorder
from tests.harness import models

RECEIVERS = ("metrics", "console")
IN_FLIGHT = 16
OFFERED = 1_500.0  # calls a second of the open loop, for latencies that do not depend on the throughput
SETTLE_S = 30.0  # imports and first sweeps of the metrics service and the console are the start's cost, not telemetry's
CATCH_UP_S = 2.0  # who stood still has the messages of that time to take in, which no round is to pay for
RESAMPLES = 10_000
RECORDS = 200_000
SPAN_ID = "00f067aa0ba902b7"
METHOD = "/inference.GRPCInferenceService/ModelInfer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Closed loop and open loop, to the worker and through Envoy."""

    worker: Seen
    mesh: Seen
    offered: Seen


@contextmanager
def telemetry(is_on: bool, mesh: DemoMesh) -> Iterator[None]:
    """Let the metrics service and the console run in the block, or stand still: so briefly that it looks alive."""
    processes = [] if is_on else [psutil.Process(mesh.process(name)["pid"]) for name in RECEIVERS]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


def measured(ours: OurServers, body: bytes, seconds: float) -> Round:
    """Load it in the three ways."""
    closed = Load(in_flight=IN_FLIGHT, seconds=seconds)
    return Round(
        worker=Loop(ours.worker.address, body, closed).run(),
        mesh=Loop(ours.mesh.address, body, closed).run(),
        offered=Loop(ours.mesh.address, body, Load(rate=OFFERED, seconds=seconds)).run(),
    )


def deciding_ns() -> float:
    """Return what it costs to find that a call is not to be traced, in nanoseconds."""
    metadata = (("x-request-id", "1"), (traces.TRACE_PARENT, f"00-{1:032x}-{SPAN_ID}-00"))
    traces.start(TracerProvider(shutdown_on_exit=False).get_tracer("bench"), 0.001)
    begin_s = perf_counter()
    for _ in range(RECORDS):
        traces.detached_span(METHOD, metadata)
    took_s = perf_counter() - begin_s
    traces.stop()
    return took_s / RECORDS * 1e9


def recording_ns() -> float:
    """Return what one observation costs, in nanoseconds, with its share of sorting."""
    recorder, value = Recorder(CALL_BUCKETS_S, unit=1e-9), 150_000
    begin_s = perf_counter()
    for _ in range(RECORDS):
        recorder.observe(value)
    recorder.recorded()
    return (perf_counter() - begin_s) / RECORDS * 1e9


def told(name: str, on: Sequence[float], off: Sequence[float], unit: str, *, more_is_better: bool) -> str:
    """Return a line: medians, how much worse the median pair is with telemetry, and within what that is certain."""
    pairs = np.array([(b - a) / b if more_is_better else (a - b) / b for a, b in zip(on, off, strict=True)])
    drawn = np.random.default_rng(0).choice(pairs, (RESAMPLES, len(pairs)))  # a percentile bootstrap
    low, high = np.percentile(np.median(drawn, axis=1), (2.5, 97.5))
    seen = f"{statistics.median(off):>10.5g} {statistics.median(on):>10.5g} {unit:<8}"
    return f"{name:<34}{seen}{np.median(pairs):>+7.1%}   95 %: {low:+.1%} to {high:+.1%}"


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=3.0)
    arguments = parser.parse_args()
    on: list[Round] = []
    off: list[Round] = []
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        model = Model(name="mlp", path=models.saved(models.mlp(), folder / "mlp"))
        inputs = {"x": np.random.default_rng(0).normal(size=(1, 64)).astype(np.float32)}
        body = Request(name="tiny MLP", model=model, inputs=inputs).body()
        with our_servers([model], folder / "mesh") as ours:
            Loop(ours.mesh.address, body, Load(rate=OFFERED, seconds=SETTLE_S)).run()
            for number in range(arguments.rounds):
                for is_on in (False, True) if number % 2 == 0 else (True, False):
                    Loop(ours.mesh.address, body, Load(rate=OFFERED, seconds=CATCH_UP_S)).run()
                    with telemetry(is_on, ours.running):
                        done = measured(ours, body, arguments.seconds)
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
    print(
        f"in the worker: {recording_ns():.0f} ns an observation, {deciding_ns():.0f} ns a call not to trace it"
    )


if __name__ == "__main__":
    main()

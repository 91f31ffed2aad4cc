"""Times a tiny model on a local mesh, straight at a worker and through Envoy, in turn: `make bench`.

The client is a process of its own and shares the machine's processors with the mesh. Processor time per call is
that of Envoy and of the worker, read from the operating system.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench import load
from examples.demo.mesh import DemoMesh
from servemesh.client import Client
from tests.harness import models

CONCURRENCIES = (1, 16, 64)
ROUNDS = 5
SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One closed loop with the processor time that each process spent on a call."""

    seen: load.Result
    worker_us: float
    envoy_us: float


def main() -> None:
    """Print a line for each concurrency and way; medians, with the lowest and highest of the rounds."""
    with tempfile.TemporaryDirectory() as folder, DemoMesh(Path(folder) / "mesh", workers=1) as mesh:
        model = Path(folder) / "mlp.onnx"
        model.write_bytes(models.mlp().SerializeToString())
        with Client(mesh.address) as client:
            client.push(load.MODEL, model)
            client.deploy(load.MODEL, replicas=1, wait_s=60)
        ways = {"worker": mesh.status()["workers"][0]["address"], "mesh": mesh.address}
        cpu_s = _cpu_meters(mesh)
        print(f"{ROUNDS} rounds of {SECONDS:g} s each, in turn; median (lowest to highest)")
        print(
            f"{'in flight':>9}  {'to':6}  {'calls/s':>22}  {'p50 ms':>7}  {'p99 ms':>7}  CPU us/call worker, Envoy"
        )
        for concurrency in CONCURRENCIES:
            rounds: dict[str, list[Round]] = {way: [] for way in ways}
            for _ in range(ROUNDS):
                for way, address in ways.items():
                    rounds[way].append(_round(address, concurrency, cpu_s))
            for way in ways:
                print(_line(concurrency, way, rounds[way]))


def _cpu_meters(mesh: DemoMesh) -> dict[str, Callable[[], float]]:
    def meter(name: str) -> Callable[[], float]:
        process = psutil.Process(mesh.process(name)["pid"])
        return lambda: sum(process.cpu_times()[:2])

    return {"worker": meter("worker-1"), "envoy": meter("envoy")}


def _round(address: str, concurrency: int, cpu_s: dict[str, Callable[[], float]]) -> Round:
    before = {name: read() for name, read in cpu_s.items()}
    seen = load.measured(address, concurrency=concurrency, seconds=SECONDS)
    calls = seen.calls_per_s * SECONDS
    spent = {name: (read() - before[name]) / calls * 1e6 for name, read in cpu_s.items()}
    return Round(seen=seen, worker_us=spent["worker"], envoy_us=spent["envoy"])


def _line(concurrency: int, way: str, rounds: list[Round]) -> str:
    rates = [round_.seen.calls_per_s for round_ in rounds]
    rate = f"{statistics.median(rates):.0f} ({min(rates):.0f} to {max(rates):.0f})"
    p50 = statistics.median(round_.seen.latency_ms_p50 for round_ in rounds)
    p99 = statistics.median(round_.seen.latency_ms_p99 for round_ in rounds)
    worker = statistics.median(round_.worker_us for round_ in rounds)
    envoy = statistics.median(round_.envoy_us for round_ in rounds)
    return f"{concurrency:>9}  {way:6}  {rate:>22}  {p50:7.2f}  {p99:7.2f}  {worker:.0f}, {envoy:.0f}"


if __name__ == "__main__":
    main()

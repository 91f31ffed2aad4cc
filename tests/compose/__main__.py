"""Builds, starts, uses and breaks the mesh of compose.yaml, then takes it down: `python -m tests.compose`.

What it saw is printed, and written into docs/compose.md with --report.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from deploy.compose import make_secrets

from examples.demo.models import trained_digits
from servemesh.client import Client
from tests.compose import checks
from tests.compose.engine import ROOT, Stack
from tests.compose.mesh import Mesh
from tests.compose.report import Row, written

PAGE = ROOT / "docs" / "compose.md"
SEEDS = (1, 2)
Check = Callable[[Mesh], str]


def listed() -> list[tuple[str, Check]]:
    """Return every check, in order."""
    kills = ("worker", "envoy-1", "gateway-1", "registry-1")
    return [
        ("Image sizes", checks.image_sizes),
        ("Hardening", checks.hardening),
        ("Push and deploy", checks.pushed_and_deployed),
        ("Command line", checks.command_line),
        ("tritonclient", checks.third_parties),
        ("Metrics, console", checks.watched),
        ("Optimizer", checks.optimized),
        *((f"kill -9 {name}", partial(checks.killed_under_load, service=name)) for name in kills),
        *((f"kill -9 {name}", partial(checks.store_killed, service=name)) for name in checks.STORES),
        ("Five workers", partial(checks.scaled, count=5)),
        ("Two workers", partial(checks.scaled, count=2)),
        ("Three workers", partial(checks.scaled, count=3)),
        ("Two registries", checks.concurrent_writers),
        ("Upload and kill -9", checks.upload_survives_its_registry),
        *((f"Any order ({seed})", partial(checks.started_in_any_order, seed=seed)) for seed in SEEDS),
    ]


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.compose")
    parser.add_argument("--no-build", action="store_true", help="use the images that are there")
    parser.add_argument("--keep", action="store_true", help="leave the mesh running")
    parser.add_argument("--report", action="store_true", help="write docs/compose.md")
    parser.add_argument("--only", default="", help="of the later checks, those with this in their name")
    options = parser.parse_args()
    make_secrets.made()
    stack, rows = Stack(), []
    try:
        if not options.no_build:
            rows.append(_timed("Build", lambda: stack.compose("build") and "all images"))
        rows.append(_timed("Start", lambda: _started(stack)))
        with tempfile.TemporaryDirectory() as folder, Client(stack.addresses) as client:
            mesh = Mesh(stack, trained_digits(), Path(folder), client)
            mesh.until_workers(3)
            for name, check in listed():
                if name == "Push and deploy" or options.only in name:
                    rows.append(_timed(name, partial(check, mesh)))
    except (AssertionError, SystemExit) as failed:
        print(f"FAILED     {failed}\n{stack.unhealthy()}\n{stack.logs()}")
        return 1
    finally:
        if not options.keep:
            rows.append(_timed("Take down", lambda: _taken_down(stack)))
    if options.report:
        written(PAGE, rows, f"{stack.version()} on {platform.machine()}", datetime.now(UTC))
    return 0


def _started(stack: Stack) -> str:
    stack.compose("up", "--detach", "--no-build")
    stack.until_healthy()
    return f"{len(stack.containers())} containers, all healthy"


def _taken_down(stack: Stack) -> str:
    stack.compose("--profile", "gpu", "down", "--volumes", "--remove-orphans")
    return f"{len(stack.containers())} containers left"


def _timed(name: str, work: Callable[[], str]) -> Row:
    start_s = time.monotonic()
    row = Row(name=name, saw=work(), took_s=time.monotonic() - start_s)
    print(f"{row.name:<19} {row.took_s:5.0f} s  {row.saw}", flush=True)
    return row


if __name__ == "__main__":
    sys.exit(main())

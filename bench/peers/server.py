"""A server that is measured: where it listens, which processes it has, and what it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.harness.processes import Child, accepts

START_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """`processes` are the process ids whose time is told, by name; their children count with them."""

    name: str
    address: str
    processes: Mapping[str, int]
    version: str = ""
    has_scalars: bool = True  # whether it takes tensors of rank 0


@contextmanager
def running(
    command: Sequence[str | Path], port: int, log: Path, env: Mapping[str, str] | None = None
) -> Iterator[Child]:
    """Run a program for the length of the block; AssertionError with its last words if it does not listen."""
    child = Child(command, log=log, env=env, cwd=log.parent)
    child.start()
    try:
        child.wait_ready(lambda: accepts(port), START_TIMEOUT_S)
        yield child
    finally:
        child.stop()

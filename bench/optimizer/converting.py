"""Converts one real program of every framework and prints how near each came to its source, and how long it took.

`python -m bench.optimizer.converting [NAME…]`; what a framework needs is installed or fetched the first time.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.optimizer.sources import SOURCES
from servemesh.errors import ServemeshError
from servemesh.optimizer.adapters.child_process import ChildProcesses, ChildSettings
from servemesh.optimizer.domain.work import WorkLimits
from tests.harness.conversions import ENVIRONMENTS

LIMITS = WorkLimits(time_s=1_800.0, memory_bytes=8 * 1024**3, threads=2)
# What pip needs of this machine's own configuration.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name == "HOME"}
HEADER = "| program | format | rows | max abs | max rel | arg-max | MB | seconds |\n|---|---|---|---|---|---|---|---|"


async def main(names: list[str]) -> None:
    """Print a table, a row per program."""
    print(HEADER)
    async with ChildProcesses.running(ChildSettings(environment=ENVIRONMENT)) as children:
        for name, write in SOURCES.items():
            if not names or name in names:
                print(await _row(children, name, write), flush=True)


async def _row(children: ChildProcesses, name: str, write: Callable[[Path], None]) -> str:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "source").mkdir()
        write(folder / "source")
        before = time.perf_counter()
        try:
            result = await _converted(children, folder)
        except ServemeshError as error:
            return f"| {name} | {error.reason}: {error.message} |"
        seconds = time.perf_counter() - before
        size_bytes = sum(file.stat().st_size for file in (folder / "out").glob("model.onnx*"))
    parity = result["parity"]
    agreement = "" if parity["argmax_agreement"] is None else f"{parity['argmax_agreement']:.1%}"
    return (
        f"| {name} | {result['format']} | {parity['row_count']} | {parity['max_abs']:.1e} | {parity['max_rel']:.1e} "
        f"| {agreement} | {size_bytes / 1e6:.2f} | {seconds:.1f} |"
    )


async def _converted(children: ChildProcesses, folder: Path) -> dict[str, Any]:
    arguments = {"source": "source", "out": "out/model.onnx", "environments": str(ENVIRONMENTS)}
    return await children.run(
        "convert", arguments, folder, LIMITS, lambda *_: None, lambda line: print(line, file=sys.stderr)
    )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))

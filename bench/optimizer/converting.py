"""Converts one real program of every framework: how near each came to its source, and how long it took.

`python -m bench.optimizer converting`; what a framework needs is installed or fetched the first time.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.optimizer.shop import ENVIRONMENT
from bench.optimizer.sources import SOURCES
from servemesh.errors import ServemeshError
from servemesh.optimizer.adapters.child_process import ChildProcesses, ChildSettings
from servemesh.optimizer.domain.work import WorkLimits
from tests.harness.conversions import ENVIRONMENTS

LIMITS = WorkLimits(time_s=1_800.0, memory_bytes=8 * 1024**3, threads=2)


async def measured() -> list[dict[str, Any]]:
    """Return a row of figures for each program."""
    async with ChildProcesses.running(ChildSettings(environment=ENVIRONMENT)) as children:
        return [await _row(children, name, write) for name, write in SOURCES.items()]


async def _row(children: ChildProcesses, name: str, write: Callable[[Path], None]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "source").mkdir()
        write(folder / "source")
        before = time.perf_counter()
        try:
            result = await _converted(children, folder)
        except ServemeshError as error:
            print(f"{name}: {error.reason}: {error.message}", flush=True)
            return {"program": name, "reason": error.reason}
        seconds = time.perf_counter() - before
        size_bytes = sum(file.stat().st_size for file in (folder / "out").glob("model.onnx*"))
    print(f"{name}: {seconds:.1f} s, {result['parity']}", flush=True)
    return {"program": name, "seconds": seconds, "size_bytes": size_bytes, **result["parity"]}


async def _converted(children: ChildProcesses, folder: Path) -> dict[str, Any]:
    arguments = {"source": "source", "out": "out/model.onnx", "environments": str(ENVIRONMENTS)}
    return await children.run(
        "convert", arguments, folder, LIMITS, lambda *_: None, lambda line: print(line, file=sys.stderr)
    )

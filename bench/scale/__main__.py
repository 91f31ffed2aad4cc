"""A mesh of a thousand workers, on paper and on one real Envoy: `make scale`."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from bench import machine, page
from bench.scale import edge, placing, steering
from bench.scale.figures import Figure
from bench.scale.fleet import Size

BEGIN, END = "<!-- figures: written by make scale -->", "<!-- end of scale -->"


def main() -> None:
    """Print each figure as it is known, then write them to docs/performance.md."""
    parser = argparse.ArgumentParser(prog="bench.scale", description=__doc__)
    parser.add_argument("--workers", type=int, default=Size().workers)
    parser.add_argument("--models", type=int, default=Size().models)
    parser.add_argument("--envoys", type=int, default=Size().envoys)
    parser.add_argument("--print-only", action="store_true", help="leave the page as it is")
    asked = parser.parse_args()
    size = Size(workers=asked.workers, models=asked.models, envoys=asked.envoys)
    lines = asyncio.run(_lines(size))
    if not asked.print_only:
        page.put(page.PAGE, BEGIN, END, "\n".join(lines))


async def _lines(size: Size) -> list[str]:
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    lines = [
        f"Measured on {day}: {machine.shape()}. {size.workers:,} workers, {size.models:,} models with "
        f"{size.replicas} replicas each, {size.envoys:,} Envoys; processor time of one process.",
        "",
        "| | | |",
        "|---|---|---|",
    ]
    print("\n".join(lines))
    with tempfile.TemporaryDirectory(prefix="servemesh-scale-") as folder:
        async for figure in _figures(size, Path(folder)):
            lines.append(str(figure))
            print(figure, flush=True)
    return lines


async def _figures(size: Size, folder: Path) -> AsyncIterator[Figure]:
    for figure in steering.figures(size):
        yield figure
    async for figure in edge.figures(size, folder):
        yield figure
    for figure in placing.figures(size):
        yield figure


if __name__ == "__main__":
    main()

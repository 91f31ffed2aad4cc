"""`make bench-optimizer`: what the optimizer does to real models, written into docs/optimizer.md.

The quick parts come first. QUICK=1 does the small models alone and writes no page; a part by its name does that part.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.optimizer import against_olive, converting, page, passes, training
from bench.peers.environments import MissingError

RESULTS = Path(".cache/optimizer/results").absolute()
QUICK_SEEDS = 2
_SMALL, _LARGE = ("mlp", "cnn", "forest", "svm"), ("efficientnet", "minilm")


def parts(*, search: bool = True) -> Mapping[str, Callable[[], Any]]:
    """Return everything that is measured, the quick first."""
    return {
        **{f"passes/{name}": _passes(name) for name in _SMALL},
        "training": training.measured,
        **{f"passes/{name}": _passes(name) for name in _LARGE},
        "olive": lambda: asyncio.run(against_olive.measured(search=search)),
        "converting": lambda: asyncio.run(converting.measured()),
    }


def quick_parts() -> Mapping[str, Callable[[], Any]]:
    """Return what takes a few minutes."""
    return {
        **{f"passes/{name}": _passes(name) for name in _SMALL},
        "training": lambda: training.measured(training.SEEDS[:QUICK_SEEDS]),
    }


def main() -> None:
    """Measure, keep the figures after each part, and write the page."""
    parser = argparse.ArgumentParser(prog="bench.optimizer", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(parts())}, page; all unless given")
    parser.add_argument(
        "--no-search", action="store_true", help="olive: measure what both found the last time, again"
    )
    parser.add_argument("--quick", action="store_true", help="the small models and two seeds; only prints")
    asked = parser.parse_args()
    measured: dict[str, Any] = {}
    chosen = quick_parts() if asked.quick else parts(search=not asked.no_search)
    for name, measure in chosen.items():
        if asked.parts and name not in asked.parts and name.partition("/")[0] not in asked.parts:
            continue
        print(f"## {name}", flush=True)
        began_s = time.monotonic()
        try:
            measured[name] = found = measure()
        except MissingError as error:
            print(f"left out: {error}", flush=True)
            continue
        print(f"## {name}: {time.monotonic() - began_s:.0f} s", flush=True)
        if not asked.quick:
            passes.write(_file(name), found)
    print(page.text(measured))
    if not asked.quick:
        page.write(_kept())


def _passes(name: str) -> Callable[[], Any]:
    return lambda: asyncio.run(passes.measured(name))


def _file(part: str) -> Path:
    return RESULTS / f"{part.replace('/', '-')}.json"


def _kept() -> dict[str, Any]:
    """Return what all parts found the last time."""
    return {name: passes.read(_file(name)) for name in parts() if _file(name).exists()}


if __name__ == "__main__":
    main()

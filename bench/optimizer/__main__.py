"""`make bench-optimizer`: what the optimizer does to real models, written into docs/optimizer.md.

The quick parts come first. QUICK=1 does the small models alone and writes no page; a part by its name does that part.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.optimizer import against_olive, converting, page, passes, training
from bench.peers.environments import MissingError

RESULTS = Path(".cache/optimizer/results.json")
QUICK_SEEDS = 2
_SMALL, _LARGE = ("mlp", "cnn", "forest", "svm"), ("efficientnet", "minilm")


def parts() -> Mapping[str, Callable[[], Any]]:
    """Return everything that is measured, the quick first."""
    return {
        **{f"passes/{name}": _passes(name) for name in _SMALL},
        "training": training.measured,
        **{f"passes/{name}": _passes(name) for name in _LARGE},
        "olive": lambda: asyncio.run(against_olive.measured()),
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
    parser.add_argument("--quick", action="store_true", help="the small models and two seeds; only prints")
    asked = parser.parse_args()
    results = {} if asked.quick else _read()
    for name, measure in (quick_parts() if asked.quick else parts()).items():
        if asked.parts and name not in asked.parts and name.partition("/")[0] not in asked.parts:
            continue
        print(f"## {name}", flush=True)
        began_s = time.monotonic()
        try:
            results[name] = measure()
        except MissingError as error:
            print(f"left out: {error}", flush=True)
            continue
        print(f"## {name}: {time.monotonic() - began_s:.0f} s", flush=True)
        if not asked.quick:
            RESULTS.parent.mkdir(parents=True, exist_ok=True)
            RESULTS.write_text(json.dumps(results, indent=1))
    print(page.text(results))
    if not asked.quick:
        page.write(results)


def _passes(name: str) -> Callable[[], Any]:
    return lambda: asyncio.run(passes.measured(name))


def _read() -> dict[str, Any]:
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


if __name__ == "__main__":
    main()

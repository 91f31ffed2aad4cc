"""A child that appends points to the store of a folder for ever, and says after each batch how many there are."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from servemesh.metrics.adapters.duck_store import DuckStore
from servemesh.metrics.domain.queries import Annotation
from tests.harness.measurements import BEGIN_MS, HOUR_MS, a_count, a_distribution

BATCH = 500


async def _append(path: Path) -> None:
    async with DuckStore.opened(path) as store:
        count = 0
        while True:
            points = [a_count(BEGIN_MS + count + place, worker=f"w{place % 7}") for place in range(BATCH)]
            await store.append([*points, a_distribution(BEGIN_MS + count, 0.5)])
            if count % (4 * BATCH) == 0:
                await store.roll_up(BEGIN_MS + HOUR_MS + count * 100)
            note = Annotation(
                annotation_id=f"{count}", time_s=BEGIN_MS / 1000, kind="k", resource="r", text="t"
            )
            await store.annotate(note)
            count += BATCH
            sys.stdout.write(f"{count}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_append(Path(sys.argv[1])))

"""Complete hours of roll-ups are copied to the object store as parquet, once."""

from __future__ import annotations

from pathlib import Path

import duckdb

from servemesh.blobs.memory import MemoryStore
from servemesh.metrics.adapters.duck_store import DuckStore
from servemesh.metrics.service.exporting import Exporter, ExportSettings
from tests.harness.clock import START, SteppedClock
from tests.harness.measurements import HOUR_MS, a_count, a_distribution, a_level


async def test_an_hour_is_exported_once_with_the_names_of_its_series(tmp_path: Path):
    clock, blobs, begin_ms = SteppedClock(), MemoryStore(), round(START.timestamp() * 1000)
    async with DuckStore.opened(tmp_path / "m.duckdb") as store:
        times = range(begin_ms, begin_ms + HOUR_MS, 20_000)
        await store.append([a_count(time_ms, model="a") for time_ms in times])
        await store.append([a_level(begin_ms, 3.0), a_distribution(begin_ms, 0.5, 0.7)])
        await store.roll_up(begin_ms + 2 * HOUR_MS)
        exporter = Exporter(store, blobs, clock, ExportSettings())
        await exporter.export()
        assert [blob.key async for blob in blobs.list_blobs("")] == []
        await clock.advance(HOUR_MS / 1000 + 301)
        await exporter.export()
        keys = {blob.key: blob.modify_time async for blob in blobs.list_blobs("")}
        place = f"metrics/minute/{START:%Y-%m-%d/%H}"
        assert sorted(keys) == [
            f"{place}/{name}"
            for name in ("bucket.parquet", "done", "growth.parquet", "level.parquet", "summary.parquet")
        ]
        await Exporter(store, blobs, clock, ExportSettings()).export()
        assert {blob.key: blob.modify_time async for blob in blobs.list_blobs("")} == keys
        async with blobs.open(f"{place}/growth.parquet") as chunks:
            (tmp_path / "growth.parquet").write_bytes(b"".join([chunk async for chunk in chunks]))
    found = duckdb.sql(
        f"SELECT metric, labels, count(*), sum(value), min(time) FROM '{tmp_path / 'growth.parquet'}' GROUP BY ALL"
    ).fetchall()
    assert found == [("calls", '[["model","a"]]', 60, 180.0, START.replace(tzinfo=None))]

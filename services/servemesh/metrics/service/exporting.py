"""Copies every complete hour of roll-ups to the object store as parquet, once, where other programs can read it."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from servemesh.blobs.ports import BlobStore
from servemesh.errors import UnavailableError
from servemesh.lifecycle import Clock
from servemesh.observe import names

HOUR_S = 3_600
PREFIX = "metrics/minute"
DONE = "done"
"""Written after the files of an hour: what has it is complete."""

_log = logging.getLogger(__name__)


class Exported(Protocol):
    """What writes files."""

    async def write_parquet(self, begin_ms: int, end_ms: int, folder: Path) -> tuple[Path, ...]:
        """Write the minutes of a span of time, a file for each family of points."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings:
    """How often it is looked, how far back, and how long after its end an hour is taken to be complete."""

    interval_s: float = 300.0
    hours_max: int = 48
    grace_s: float = 300.0


class Exporter:
    """What the object store has is never written again: points that came later than the grace are not in it."""

    def __init__(self, store: Exported, blobs: BlobStore, clock: Clock, settings: ExportSettings) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._settings = settings
        self._done: set[int] = set()

    async def run(self) -> None:
        """Export until cancelled."""
        while True:
            await self._clock.sleep(self._settings.interval_s)
            try:
                await self.export()
            except UnavailableError as error:
                _log.warning(names.METRICS_EXPORT_WAITING, extra={"reason": error.reason})

    async def export(self) -> None:
        """Export the hours that are complete and not in the object store yet."""
        settings = self._settings
        end = int((self._clock.now().timestamp() - settings.grace_s) // HOUR_S)
        hours = range(end - settings.hours_max, end)
        self._done &= set(hours)
        for hour in hours:
            if hour not in self._done:
                await self._export(hour)
                self._done.add(hour)

    async def _export(self, hour: int) -> None:
        place = f"{PREFIX}/{datetime.fromtimestamp(hour * HOUR_S, UTC):%Y-%m-%d/%H}"
        if await self._blobs.stat(f"{place}/{DONE}"):
            return
        with tempfile.TemporaryDirectory(prefix="servemesh-parquet-") as folder:
            paths = await self._store.write_parquet(
                hour * HOUR_S * 1000, (hour + 1) * HOUR_S * 1000, Path(folder)
            )
            if not paths:
                return
            done = Path(folder) / DONE
            done.write_text(f"{len(paths)}\n")
            for path in (*paths, done):
                await self._put(f"{place}/{path.name}", path)

    async def _put(self, key: str, path: Path) -> None:
        data = await asyncio.to_thread(path.read_bytes)
        await self._blobs.delete(key)  # of an export that did not come to its end
        await self._blobs.put_file(key, path, sha256=hashlib.sha256(data).hexdigest())
        _log.info(names.METRICS_EXPORTED, extra={"key": key, "size_bytes": len(data)})

"""Which artifacts this process was opening when it died: counted up before, taken back after."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from servemesh.observe import names
from servemesh.worker.adapters.atomic_file import read_file, replace_file

SIZE_BYTES_MAX = 1024 * 1024
ENTRIES_MAX = 1_000

_log = logging.getLogger(__name__)


class CrashFile:
    """Satisfies loading.CrashJournal. The file is small: it is written on the event loop, before each load.

    A count that is still there when the process starts is of an artifact that was being opened when the process
    before ended. Replace the file's folder, or push the model again, to try a quarantined artifact anew.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._counts = _read(path)
        self._opening: set[str] = set()

    def crashes(self, sha256: str) -> int:
        """Return how many times in a row this process died while opening the artifact."""
        return self._counts.get(sha256, 0)

    def opening(self, sha256: str) -> None:
        """The artifact is about to be opened."""
        if sha256 not in self._opening:
            self._opening.add(sha256)
            self._counts[sha256] = self._counts.get(sha256, 0) + 1
            self._write()

    def opened(self, sha256: str) -> None:
        """Opening it did not end the process."""
        self._opening.discard(sha256)
        if self._counts.pop(sha256, 0):
            self._write()

    def _write(self) -> None:
        kept = dict(list(self._counts.items())[-ENTRIES_MAX:])
        try:
            replace_file(self._path, json.dumps(kept).encode())
        except OSError as error:  # a full disk: the load goes on unwatched
            _log.warning(names.CACHE_WRITE_FAILED, extra={"file": self._path.name, "errno": error.errno})


def _read(path: Path) -> dict[str, int]:
    data = read_file(path, size_bytes_max=SIZE_BYTES_MAX)
    try:
        counts = json.loads(data or b"{}")
    except ValueError:
        return {}
    if not isinstance(counts, dict):
        return {}
    return {key: value for key, value in counts.items() if isinstance(key, str) and isinstance(value, int)}

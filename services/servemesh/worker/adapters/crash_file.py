"""Which artifacts this process died of: while it opened them, or while it ran them."""

from __future__ import annotations

import faulthandler
import json
import logging
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servemesh.observe import names
from servemesh.worker.adapters.atomic_file import read_file, replace_file
from servemesh.worker.adapters.run_marks import RunMark, RunMarks

CRASHES, FAULTS, MARKS = "crashes.json", "faults.log", "marks"
SIZE_BYTES_MAX = 1024 * 1024
ENTRIES_MAX = 1_000
EXCERPT_CHARS_MAX = 500
_THREAD = re.compile(rb"Current thread 0x([0-9a-f]+)")

_log = logging.getLogger(__name__)


@contextmanager
def faults_reported(folder: Path) -> Iterator[None]:
    """Have a crash of this process (not a kill from outside) written down in `folder`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / FAULTS).open("ab") as file:
        faulthandler.enable(file)  # of all threads: only so it says which one crashed
        try:
            yield
        finally:
            faulthandler.disable()


class CrashFile:
    """Satisfies loading.CrashJournal and watchdog.CrashCounts. Small files in the cache's folder.

    Opening: counted up before and taken back after, so whatever ended the process counts, a lack of memory too.
    Running: counted only if the process crashed by itself, since a kill from outside says nothing of a model;
    and for what the thread was running that crashed, if that is known. A run that the watchdog ends the process
    for is counted too. A process that ends in order starts anew with no counts.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / CRASHES
        self._lock = threading.Lock()  # the watchdog counts in its own thread
        self._opening: set[str] = set()
        kept = _read(self._path)
        self._opened_counts = Counter(kept.get("opening", {}))
        self._run_counts = Counter(kept.get("running", {}))
        self._marks = RunMarks(folder / MARKS)
        self._blame(folder / FAULTS)

    def crashes(self, sha256: str) -> int:
        """Return how many times this process died of the artifact."""
        return max(self._opened_counts[sha256], self._run_counts[sha256])

    def opening(self, sha256: str) -> None:
        """The artifact is about to be opened."""
        if sha256 not in self._opening:
            self._opening.add(sha256)
            self._opened_counts[sha256] += 1
            self._write()

    def opened(self, sha256: str) -> None:
        """Opening it did not end the process."""
        self._opening.discard(sha256)
        if self._opened_counts.pop(sha256, 0):
            self._write()

    def mark(self, sha256: str) -> RunMark | None:
        """Return the context in which the artifact is run."""
        return self._marks.mark(sha256)

    def condemned(self, sha256: str) -> None:
        """The process is about to be ended because of the artifact."""
        self._run_counts[sha256] += 1
        self._write()

    def forget(self) -> None:
        """The process ends in order."""
        self._opened_counts.clear()
        self._run_counts.clear()
        self._write()

    def _blame(self, faults: Path) -> None:
        crash = read_file(faults, size_bytes_max=SIZE_BYTES_MAX)
        if not crash:
            return
        excerpt = crash.decode(errors="replace")[:EXCERPT_CHARS_MAX]
        running = self._marks.standing
        found = _THREAD.search(crash)
        guilty = running.get(int(found[1], 16)) if found else None
        blamed = [guilty] if guilty else sorted(set(running.values()))
        _log.error(names.CRASHED_BEFORE, extra={"running": blamed, "fault": excerpt})
        self._run_counts.update(blamed)
        self._write()
        faults.write_bytes(b"")

    def _write(self) -> None:
        with self._lock:
            kept = {
                "opening": dict(self._opened_counts.most_common(ENTRIES_MAX)),
                "running": dict(self._run_counts.most_common(ENTRIES_MAX)),
            }
            try:
                replace_file(self._path, json.dumps(kept).encode())
            except OSError as error:  # a full disk: the load goes on unwatched
                _log.warning(names.CACHE_WRITE_FAILED, extra={"file": self._path.name, "errno": error.errno})


def _read(path: Path) -> dict[str, dict[str, int]]:
    data = read_file(path, size_bytes_max=SIZE_BYTES_MAX)
    try:
        kept = json.loads(data or b"{}")
        return {key: {sha256: int(count) for sha256, count in counts.items()} for key, counts in kept.items()}
    except (ValueError, TypeError, AttributeError):  # not written by us
        return {}

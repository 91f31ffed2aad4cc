"""Marks of the artifacts that are being run, in memory that outlives the process: what a crash leaves standing."""

from __future__ import annotations

import mmap
import os
import threading
from pathlib import Path
from types import TracebackType

MARKS_MAX = 256
_DIGEST_BYTES = 32
_MARK_BYTES = _DIGEST_BYTES + 1  # a digest and how many runs of it are under way


class RunMark:
    """One artifact's mark: it stands while a run of the artifact is under way. For use as a context."""

    def __init__(self, marks: mmap.mmap, place: int) -> None:
        self._marks = marks
        self._place = place
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self._marks[self._place] = min(self._marks[self._place] + 1, 255)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._marks[self._place] = max(self._marks[self._place] - 1, 0)


class RunMarks:
    """A small file in memory; the system keeps it when the process dies, in whatever way."""

    def __init__(self, path: Path) -> None:
        self._marks = _mapped(path, MARKS_MAX * _MARK_BYTES)
        self.standing = tuple(self._standing())  # digests that the process before was running when it ended
        self._marks[:] = bytes(len(self._marks))
        self._by_digest: dict[str, RunMark] = {}

    def mark(self, sha256: str) -> RunMark | None:
        """Return the mark of an artifact; None if there are too many."""
        if sha256 not in self._by_digest:
            if len(self._by_digest) == MARKS_MAX:
                return None
            start = len(self._by_digest) * _MARK_BYTES
            self._marks[start : start + _DIGEST_BYTES] = bytes.fromhex(sha256)
            self._by_digest[sha256] = RunMark(self._marks, start + _DIGEST_BYTES)
        return self._by_digest[sha256]

    def _standing(self) -> list[str]:
        starts = range(0, len(self._marks), _MARK_BYTES)
        return [
            self._marks[start : start + _DIGEST_BYTES].hex()
            for start in starts
            if self._marks[start + _DIGEST_BYTES]
        ]


def _mapped(path: Path, size_bytes: int) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        # With its room on disk taken: else a write to a full disk would end the process.
        os.posix_fallocate(descriptor, 0, size_bytes)
        return mmap.mmap(descriptor, size_bytes)
    except OSError:
        return mmap.mmap(-1, size_bytes)  # no room: marks that nobody will find
    finally:
        os.close(descriptor)

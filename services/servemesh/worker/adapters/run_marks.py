"""Marks of what each thread is running, in memory that outlives the process: what a crash leaves standing."""

from __future__ import annotations

import mmap
import os
import threading
from pathlib import Path
from types import TracebackType

ARTIFACTS_MAX = 256
THREADS_MAX = 256
_DIGEST_BYTES = 32
_THREAD_BYTES = 8
_NUMBER_BYTES = 2  # of the artifact that the thread runs, from 1; 0 while it runs none
_PLACE_BYTES = _THREAD_BYTES + _NUMBER_BYTES
_PLACES_AT = ARTIFACTS_MAX * _DIGEST_BYTES
_SIZE_BYTES = _PLACES_AT + THREADS_MAX * _PLACE_BYTES
_NOTHING = bytes(_NUMBER_BYTES)


class RunMark:
    """One artifact's mark: it stands while a thread runs the artifact. For use as a context."""

    def __init__(self, marks: RunMarks, number: int) -> None:
        self._marks = marks
        self._number = number.to_bytes(_NUMBER_BYTES, "little")

    def __enter__(self) -> None:
        self._marks.write(self._number)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._marks.write(_NOTHING)


class RunMarks:
    """A small file in memory; the system keeps it when the process dies, in whatever way."""

    def __init__(self, path: Path) -> None:
        self._marks = _mapped(path)
        self.standing = standing(self._marks[:])  # what the process before was running when it ended
        self._marks[:] = bytes(_SIZE_BYTES)
        self._by_digest: dict[str, RunMark] = {}
        self._at: dict[int, int] = {}  # where the number of each thread is
        self._lock = threading.Lock()

    def mark(self, sha256: str) -> RunMark | None:
        """Return the mark of an artifact; None if there are too many."""
        if sha256 not in self._by_digest:
            number = len(self._by_digest)
            if number == ARTIFACTS_MAX:
                return None
            start = number * _DIGEST_BYTES
            self._marks[start : start + _DIGEST_BYTES] = bytes.fromhex(sha256)
            self._by_digest[sha256] = RunMark(self, number + 1)
        return self._by_digest[sha256]

    def write(self, number: bytes) -> None:
        """Say what this thread runs; nothing happens if there are too many threads."""
        thread = threading.get_ident()
        at = self._at.get(thread) or self._place_of(thread)
        if at:
            self._marks[at : at + _NUMBER_BYTES] = number

    def _place_of(self, thread: int) -> int:
        with self._lock:
            if len(self._at) == THREADS_MAX:
                self._forget_idle()
            taken = set(self._at.values())
            for start in range(_PLACES_AT, _SIZE_BYTES, _PLACE_BYTES):
                at = start + _THREAD_BYTES
                if at not in taken:
                    self._marks[start:at] = thread.to_bytes(_THREAD_BYTES, "little")
                    self._at[thread] = at
                    return at
        return 0

    def _forget_idle(self) -> None:
        """Take the places of threads that run nothing: most have ended. Others get a new place when they run."""
        for thread, at in list(self._at.items()):
            if self._marks[at : at + _NUMBER_BYTES] == _NOTHING:
                del self._at[thread]


def standing(marks: bytes) -> dict[int, str]:
    """Return the digest of what each thread runs, by the thread's number, as the file's content says."""
    found = {}
    for start in range(_PLACES_AT, len(marks), _PLACE_BYTES):
        at = start + _THREAD_BYTES
        number = int.from_bytes(marks[at : at + _NUMBER_BYTES], "little")
        if 0 < number <= ARTIFACTS_MAX:
            digest = marks[(number - 1) * _DIGEST_BYTES : number * _DIGEST_BYTES]
            found[int.from_bytes(marks[start:at], "little")] = digest.hex()
    return found


def _mapped(path: Path) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        # With its room on disk taken: else a write to a full disk would end the process.
        os.posix_fallocate(descriptor, 0, _SIZE_BYTES)
        return mmap.mmap(descriptor, _SIZE_BYTES)
    except OSError:
        return mmap.mmap(-1, _SIZE_BYTES)  # no room: marks that nobody will find
    finally:
        os.close(descriptor)

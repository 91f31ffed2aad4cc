"""ModelInfer at a fixed rate from a plain gRPC stub without retries, whatever the mesh does meanwhile."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.harness import steady_caller
from tests.harness.steady_caller import DEADLINE_S

START_S = 60.0
LATE_S = 0.1
"""A call that has not ended so long after its deadline is late."""
AFTERWARDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call that has ended, on the monotonic clock. `fault` is empty if the answer was right."""

    start_s: float
    end_s: float
    fault: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a stretch of time looked like from outside."""

    calls: int
    faults: tuple[str, ...]
    p99_s: float
    slowest_s: float
    late: int

    @classmethod
    def of(cls, calls: list[Call]) -> Figures:
        """Sum up."""
        durations = sorted(call.end_s - call.start_s for call in calls) or [0.0]
        return cls(
            calls=len(calls),
            faults=tuple(call.fault for call in calls if call.fault),
            p99_s=durations[int(0.99 * (len(durations) - 1))],
            slowest_s=durations[-1],
            late=sum(1 for duration in durations if duration > DEADLINE_S + LATE_S),
        )

    def __str__(self) -> str:
        slow = f"p99 {self.p99_s * 1000:.0f} ms, slowest {self.slowest_s * 1000:.0f} ms"
        return f"{len(self.faults)} of {self.calls} calls failed, {slow}"


class SteadyLoad:
    """Open loop: a call starts when it is due, however many are still under way. Every answer is checked.

    A process of its own calls, so that what a test does meanwhile does not make its calls look slow.
    """

    def __init__(self, address: str, model: str, path: Path, *, rate_per_s: float = 80.0) -> None:
        self._command = [
            sys.executable,
            "-m",
            steady_caller.__name__,
            address,
            model,
            str(path),
            f"{rate_per_s}",
        ]
        self._process: subprocess.Popen[str] | None = None
        self._sent = 0
        self._calls: list[Call] = []
        self._marks = 0
        self._marked = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="steady-load")

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self._thread.start()
        try:
            self._mark(START_S)  # it answers once it calls
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(DEADLINE_S + 10.0)
        finally:
            self._process.kill()
            self._process.wait()
            self._thread.join()
            self._process.stdout.close()

    def send(self, count: int = 1) -> None:
        """Start so many calls at once, on top of the steady ones."""
        self._tell(f"send {count}")

    def until_answered(self, count: int) -> None:
        """Wait until so many more calls that start from now on were answered."""
        start_s = time.monotonic()
        with self._changed:
            enough = self._changed.wait_for(lambda: self._answered_since(start_s) >= count, DEADLINE_S)
        assert enough, f"no {count} calls were answered within {DEADLINE_S:.0f} s"

    def until_all_ended(self) -> None:
        """Wait until every call that has been sent by now has ended."""
        self._mark(DEADLINE_S)
        with self._changed:
            sent_s, count = time.monotonic(), self._sent
            ended = self._changed.wait_for(lambda: self._started_before(sent_s) >= count, DEADLINE_S + 1.0)
        assert ended, f"calls have not ended {DEADLINE_S + 1.0:.0f} s after they were sent"

    def calls(self) -> list[Call]:
        """Return the calls that have ended."""
        with self._changed:
            return list(self._calls)

    def figures(self, since_s: float = 0.0, until_s: float = float("inf")) -> Figures:
        """Sum up the calls that ended within a stretch of the monotonic clock."""
        with self._changed:
            return Figures.of([call for call in self._calls if since_s <= call.end_s <= until_s])

    @contextlib.contextmanager
    def unharmed_by(self, fault: str) -> Iterator[None]:
        """AssertionError if a call fails that ends after the block has begun and starts before it ends."""
        since_s, before = time.monotonic(), self.figures()
        yield
        self.until_all_ended()
        during = self.figures(since_s)
        print(f"{fault}: {during}; before it p99 {before.p99_s * 1000:.0f} ms")
        assert not during.faults, f"{fault}: {during}; the first: {during.faults[:5]}"

    @contextlib.contextmanager
    def cut_off_by(self, fault: str) -> Iterator[None]:
        """AssertionError if a call fails in another way than that nobody was there, or one fails afterwards.

        The block ends when calls are to succeed again.
        """
        since_s = time.monotonic()
        yield
        self.until_answered(AFTERWARDS)
        back_s = time.monotonic()
        with self.unharmed_by(f"after {fault}"):
            self.until_answered(AFTERWARDS)
        during = self.figures(since_s, back_s)
        print(f"{fault}: {during}; answered again after {back_s - since_s:.1f} s")
        strange = [text for text in during.faults if not text.startswith("UNAVAILABLE")]
        assert not strange, f"{fault}: {strange[:5]}"

    def _answered_since(self, start_s: float) -> int:
        return sum(1 for call in reversed(self._calls) if call.start_s >= start_s and not call.fault)

    def _started_before(self, limit_s: float) -> int:
        return sum(1 for call in self._calls if call.start_s <= limit_s)

    def _tell(self, order: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()

    def _mark(self, timeout_s: float) -> None:
        """Wait until everything that it has told by now was read."""
        with self._changed:
            self._marks += 1
            mark = self._marks
            self._tell(f"mark {mark}")
            read = self._changed.wait_for(lambda: self._marked >= mark, timeout_s)
        assert read, f"the process that calls has said nothing for {timeout_s:.0f} s"

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            with self._changed:
                if "mark" in told:
                    self._marked = told["mark"]
                elif "sent" in told:
                    self._sent += told["sent"]
                else:
                    self._calls.append(Call(**told))
                self._changed.notify_all()

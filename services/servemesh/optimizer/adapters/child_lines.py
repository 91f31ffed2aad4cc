"""What a child says on its stdout, line by line, with a bound on everything."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from servemesh.optimizer.adapters.child import messages

LINE_BYTES_MAX = 16 * 1024
LOG_LINES_MAX = 2_000
TELL_S = 0.1

OnProgress = Callable[[float, str], None]
OnLog = Callable[[str], None]


class ChildLines:
    """Tells progress ten times a second at most, and log lines until there are too many. Garbage is passed over."""

    def __init__(self, on_progress: OnProgress, on_log: OnLog) -> None:
        self._on_progress = on_progress
        self._on_log = on_log
        self._rest = b""
        self._is_too_long = False
        self._logged = 0
        self._progress: tuple[float, str] | None = None
        self._told_s = -math.inf

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        *lines, rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            if not self._is_too_long:
                self._line(line)
            self._is_too_long = False
        self._is_too_long = self._is_too_long or len(rest) > LINE_BYTES_MAX
        self._rest = b"" if self._is_too_long else rest

    def tell(self, *, finally_: bool = False) -> None:
        """Tell the newest progress if there is any and it is time."""
        now_s = time.monotonic()
        if self._progress is not None and (finally_ or now_s - self._told_s >= TELL_S):
            self._told_s = now_s
            self._on_progress(*self._progress)
            self._progress = None

    def _line(self, line: bytes) -> None:
        said = messages.parsed(line) if len(line) <= LINE_BYTES_MAX else None
        if said is None:
            return
        share, step, text = said.get("progress"), said.get("step"), said.get("log")
        if isinstance(share, int | float) and math.isfinite(share) and isinstance(step, str):
            self._progress = (min(max(float(share), 0.0), 1.0), step[: messages.STEP_CHARS_MAX])
        if isinstance(text, str):
            self._log(text[: messages.LOG_CHARS_MAX])

    def _log(self, text: str) -> None:
        self._logged += 1
        if self._logged < LOG_LINES_MAX:
            self._on_log(text)
        elif self._logged == LOG_LINES_MAX:
            self._on_log("more lines than are kept came from here; the rest is left out")

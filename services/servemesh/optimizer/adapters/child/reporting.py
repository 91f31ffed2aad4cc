"""The child's reports, as JSON lines to the parent."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from contextlib import suppress

from servemesh.optimizer.adapters.child.messages import LOG_CHARS_MAX, STEP_CHARS_MAX

PROGRESS_INTERVAL_S = 0.05


class LineReport:
    """Satisfies domain.work.Report. Progress that comes faster than anybody reads is left out."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._told_s = -math.inf

    def progress(self, share: float, step: str) -> None:
        """So much of the task is done, 0 to 1, and this is being done now."""
        now_s = time.monotonic()
        if share < 1.0 and now_s - self._told_s < PROGRESS_INTERVAL_S:
            return
        self._told_s = now_s
        self._write({"progress": float(share), "step": step[:STEP_CHARS_MAX]})

    def log(self, text: str) -> None:
        """Something for the user to read in the job's log."""
        for line in text.splitlines():
            self._write({"log": line[:LOG_CHARS_MAX]})

    def _write(self, message: dict[str, object]) -> None:
        line = json.dumps(message).encode() + b"\n"
        with self._lock, suppress(OSError):
            while line:
                line = line[os.write(self._descriptor, line) :]

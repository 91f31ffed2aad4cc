"""What long work needs to say and may use: its reports and its limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Report(Protocol):
    """How a child process tells what it is doing. Neither call waits or fails."""

    def progress(self, share: float, step: str) -> None:
        """So much of the task is done, 0 to 1, and this is being done now."""

    def log(self, text: str) -> None:
        """Something for the user to read in the job's log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkLimits:
    """Bounds of one child process."""

    time_s: float
    memory_bytes: int
    threads: int

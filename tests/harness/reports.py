"""A report of long work that remembers what it was told."""

from __future__ import annotations


class MemoryReport:
    """Keeps all shares, steps and lines."""

    def __init__(self) -> None:
        self.shares: list[float] = []
        self.steps: list[str] = []
        self.lines: list[str] = []

    def progress(self, share: float, step: str) -> None:
        """Remember where the work stands."""
        self.shares.append(share)
        self.steps.append(step)

    def log(self, text: str) -> None:
        """Remember a line."""
        self.lines.append(text)

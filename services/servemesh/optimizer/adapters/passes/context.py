"""What a pass may use while it works."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from servemesh.optimizer.adapters.datasets.rows import Rows
from servemesh.optimizer.domain.work import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class PassContext:
    """Rows, teacher, seed and threads of one pass, and where it reports to."""

    data: Rows | None
    teacher: Path | None
    seed: int
    threads: int
    report: Report

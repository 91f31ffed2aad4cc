"""A bad day in a minute: alerts, webhook, report and forecast tell what went wrong, and no more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(
    "SERVEMESH_BAD_DAY" not in os.environ, reason="takes minutes; `make bad-day` lives through it"
)
@pytest.mark.timeout(300)
def test_a_bad_day_is_told_rightly(tmp_path: Path) -> None:
    day = subprocess.run(
        [sys.executable, "-m", "bench.metrics.bad_day", "--keep", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert day.returncode == 0, day.stdout + day.stderr[-4_000:]
    assert "The day was told rightly" in day.stdout

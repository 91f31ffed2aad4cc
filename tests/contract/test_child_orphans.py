"""Children whose parent is killed, in the seconds in which they still import their libraries and after that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.harness.faults import is_alive
from tests.harness.waiting import blocking_until

# A history that takes far longer than the test, and a file that is never there to be read.
FORECASTING = """
import asyncio, numpy as np
from servemesh.metrics.adapters.forecaster import ChildForecaster
from servemesh.metrics.service.forecasting import History
history = History(values=np.random.default_rng(0).random(20_000), steps=100, seasons=(24, 168))
asyncio.run(ChildForecaster(time_s=600).forecast([history] * 100))
"""
ADMITTING = """
import asyncio, pathlib, sys
from servemesh.registry.adapters.admission_process import AdmissionLimits, AdmissionProcess
asyncio.run(AdmissionProcess(AdmissionLimits()).examine({"model.onnx": pathlib.Path(sys.argv[1])}))
"""


@pytest.fixture
def never_read(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def only_child(parent: int) -> psutil.Process:
    found: list[psutil.Process] = []

    def started() -> bool:
        found[:] = psutil.Process(parent).children()
        return bool(found)

    blocking_until(started)
    (child,) = found
    return child


def has_imported(child: psutil.Process, library: str) -> bool:
    return any(library in mapped.path for mapped in child.memory_maps())


@pytest.mark.parametrize("when", ["as it starts", "as it works"])
@pytest.mark.parametrize(
    ("program", "library"),
    [(FORECASTING, "_lib.cpython"), (ADMITTING, "onnx_cpp2py")],
    ids=["forecast", "admission"],
)
def test_a_child_is_not_left_behind(program: str, library: str, when: str, never_read: Path) -> None:
    asker = subprocess.Popen([sys.executable, "-c", program, str(never_read)])
    try:
        child = only_child(asker.pid)
        if when == "as it works":
            blocking_until(lambda: has_imported(child, library))
    finally:
        asker.kill()
        asker.wait()
    try:
        blocking_until(lambda: not is_alive(child.pid))
    finally:
        if is_alive(child.pid):
            os.kill(child.pid, signal.SIGKILL)

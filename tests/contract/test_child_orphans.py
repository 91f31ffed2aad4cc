"""Children whose parent is killed, in the seconds in which they still import their libraries and after that."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.harness import models
from tests.harness.faults import is_alive
from tests.harness.waiting import blocking_until

IMPORT_S = 60.0
FORECASTING = """
import asyncio, numpy as np
from servemesh.metrics.adapters.forecaster import ChildForecaster
from servemesh.metrics.service.forecasting import History
history = History(values=np.random.default_rng(0).random(5_000), steps=100, seasons=(24, 168))
asyncio.run(ChildForecaster(time_s=600).forecast([history] * 20))
"""
ADMITTING = """
import asyncio, pathlib, sys
from servemesh.registry.adapters.admission_process import AdmissionLimits, AdmissionProcess
asyncio.run(AdmissionProcess(AdmissionLimits()).examine({"model.onnx": pathlib.Path(sys.argv[1])}))
"""


def computes(child: psutil.Process) -> bool:
    """Whether it spends time on its question, all of which it has read."""
    proc = Path("/proc") / str(child.pid)
    position = int((proc / "fdinfo" / "0").read_text().split()[1])
    if position < (proc / "fd" / "0").stat().st_size:
        return False
    spent_s = child.cpu_times().user
    blocking_until(lambda: child.cpu_times().user > spent_s + 1)
    return True


def reads_the_model(child: psutil.Process) -> bool:
    """Whether it has come to the library that does."""
    return any("onnx_cpp2py" in mapped.path for mapped in child.memory_maps())


def only_child(parent: int) -> psutil.Process:
    found: list[psutil.Process] = []

    def started() -> bool:
        found[:] = psutil.Process(parent).children()
        return bool(found)

    blocking_until(started)
    (child,) = found
    return child


@pytest.mark.parametrize("when", ["as it starts", "as it works"])
@pytest.mark.parametrize(
    ("program", "is_at_work"),
    [(FORECASTING, computes), (ADMITTING, reads_the_model)],
    ids=["forecast", "admission"],
)
def test_a_child_is_not_left_behind(
    program: str, is_at_work: Callable[[psutil.Process], bool], when: str, tmp_path: Path
) -> None:
    model = models.saved(models.mlp(), tmp_path / "model")
    asker = subprocess.Popen([sys.executable, "-c", program, str(model)])
    try:
        child = only_child(asker.pid)
        if when == "as it works":
            blocking_until(lambda: is_at_work(child))
            child.suspend()  # so that it does not end by itself
    finally:
        asker.kill()
        asker.wait()
    try:
        blocking_until(lambda: not is_alive(child.pid), IMPORT_S)
    finally:
        with suppress(psutil.NoSuchProcess):
            child.kill()

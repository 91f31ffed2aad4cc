"""Which module does which task; it is imported by the child that needs it, and by nobody else."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from servemesh.errors import InvalidError
from servemesh.optimizer.domain.work import Report

Run = Callable[[dict[str, Any], Path, Report], dict[str, Any]]

TASKS: Mapping[str, str] = {
    "pass": "servemesh.optimizer.adapters.passes.apply",
    "sensitivity": "servemesh.optimizer.adapters.passes.sensitivity",
    "convert": "servemesh.optimizer.adapters.converters.convert",
    "examine": "servemesh.optimizer.adapters.datasets.examine",
    "describe": "servemesh.optimizer.adapters.describing",
    "measure": "servemesh.optimizer.adapters.measuring.measure",
}


def imported(task: str, more: Mapping[str, str]) -> Run:
    """Return the `run` function of the task; `more` adds tasks to the table."""
    module = {**TASKS, **more}.get(task)
    if module is None:
        raise InvalidError(f"there is no task {task[:100]!r}", reason="TASK_UNKNOWN", field="task")
    run: Run = importlib.import_module(module).run
    return run

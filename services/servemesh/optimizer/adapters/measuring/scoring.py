"""The task metric of each model on the same rows: outputs go to disk, and are read back block by block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from servemesh.optimizer.adapters.datasets.column_files import StoredColumn
from servemesh.optimizer.adapters.datasets.rows import Rows
from servemesh.optimizer.adapters.measuring.probe_process import ProbeProcess
from servemesh.optimizer.domain import measuring, scores, task_metrics
from servemesh.optimizer.domain.datasets import Column
from servemesh.optimizer.domain.specs import MeasurementPlan
from servemesh.optimizer.domain.splits import Split
from servemesh.optimizer.domain.task_metrics import Metric

Array = np.ndarray[Any, Any]

_BLOCK_ROWS = 256
_FOLDER = "outputs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """The metric's name, on how many rows, and what it came to for each model."""

    metric_name: str
    row_count: int
    by_model: Mapping[str, scores.Measured]


def scored(
    processes: Mapping[str, ProbeProcess],
    folder: Path,
    rows: Rows | None,
    plan: MeasurementPlan,
    *,
    output: str,
    batch_rows: int,
    row_count: int,
    seed: int,
) -> Scored:
    """Have every model answer all rows, `batch_rows` at a time, and score them; the first is the original."""
    (folder / _FOLDER).mkdir(exist_ok=True)
    outputs = {
        model_id: _evaluated(process, folder, f"{_FOLDER}/{index}.npy", output, batch_rows)
        for index, (model_id, process) in enumerate(processes.items())
    }
    original = next(iter(outputs.values()))
    label = measuring.label_for(output, rows.labels if rows else ())
    some = original.take(np.arange(min(_BLOCK_ROWS, row_count)))
    some_labels = next(rows.column(label.name, Split.EVALUATE, _BLOCK_ROWS)) if rows and label else None
    name = plan.metric or measuring.default_metric(some, some_labels)
    with_original = measuring.compares_with_original(name, some, some_labels)
    metric = task_metrics.named(name, top_k=plan.top_k, output=output)
    seen = []
    for stored in outputs.values():
        if rows is None or label is None or with_original:
            targets = _blocks(original, row_count)
        else:
            targets = rows.column(label.name, Split.EVALUATE, _BLOCK_ROWS)
        seen.append(_seen(metric, _blocks(stored, row_count), targets))
    found = scores.measured(metric, seen, seed=seed)
    return Scored(metric_name=name, row_count=row_count, by_model=dict(zip(outputs, found, strict=True)))


def _evaluated(process: ProbeProcess, folder: Path, file: str, output: str, batch_rows: int) -> StoredColumn:
    answer = process.ask("evaluate", output=output, rows=batch_rows, file=file)
    column = Column(
        name=output, datatype=answer["datatype"], row_shape=tuple(answer["row_shape"]), label=False
    )
    return StoredColumn(folder / file, column)


def _seen(metric: Metric, outputs: Iterator[Array], targets: Iterator[Array]) -> Array:
    return np.concatenate(
        [metric.seen(output, target) for output, target in zip(outputs, targets, strict=True)]
    )


def _blocks(stored: StoredColumn, row_count: int) -> Iterator[Array]:
    for begin in range(0, row_count, _BLOCK_ROWS):
        yield stored.take(np.arange(begin, min(begin + _BLOCK_ROWS, row_count)))

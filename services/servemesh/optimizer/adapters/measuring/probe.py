"""The process of one measured model: `python -m servemesh.optimizer.adapters.measuring.probe`.

Reads one JSON object per line from standard input, does it, and answers with one on standard output. It imports
nothing but what runs a model, so that what it takes is what the model takes.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from servemesh.errors import InvalidError, ServemeshError
from servemesh.optimizer.adapters.child import messages
from servemesh.optimizer.adapters.datasets.column_files import ColumnWriter
from servemesh.optimizer.adapters.measuring import process_memory
from servemesh.optimizer.adapters.measuring.model_rows import ModelRows, rows_for
from servemesh.optimizer.adapters.measuring.opened_model import OpenedModel
from servemesh.optimizer.domain import measuring
from servemesh.optimizer.domain.generating import fixed_rows
from servemesh.runtime import text_locale
from servemesh.tensors.datatypes import BYTES, of_array

Array = np.ndarray[Any, Any]

OUTPUT_BYTES_MAX = 16 * 1024**3
_WAKING_S = 0.002  # a process that waited runs slower at first


class Probe:
    """Holds one model and answers what is asked of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._model: OpenedModel
        self._rows: ModelRows
        self._inputs: dict[int, dict[str, Array]] = {}
        self._before_bytes = 0

    def open(self, order: dict[str, Any]) -> dict[str, Any]:
        """Open the model and answer once: what a caller waits for a model that was not in memory."""
        self._before_bytes = process_memory.reset_peak()
        began_s = time.perf_counter()
        self._model = OpenedModel(self._folder / order["model"], threads=order["threads"])
        opened_s = time.perf_counter() - began_s
        before_bytes = process_memory.resident_bytes()
        data = self._folder / order["data"] if order["data"] else None
        self._rows = rows_for(self._model.inputs, data, seed=order["seed"], ids_ends=order["ids_ends"])
        rows = fixed_rows(self._model.inputs)
        inputs = self._prepared(rows or 1)
        self._before_bytes += (
            process_memory.resident_bytes() - before_bytes
        )  # what the rows take is not the model's
        began_s = time.perf_counter()
        try:
            self._model.run(inputs)
        except ServemeshError as error:
            raise error if data else _refused(error) from error
        return {
            "cold_load_s": opened_s + time.perf_counter() - began_s,
            "fixed_rows": rows,
            "row_count": self._rows.row_count,
            "outputs": [spec.name for spec in self._model.outputs],
            "provider": self._model.provider,
            "notes": list(self._rows.notes),
        }

    def warm(self, order: dict[str, Any]) -> dict[str, Any]:
        """Run until runs take as long as those before them."""
        inputs, runs_s = self._prepared(order["rows"]), list[float]()
        while not measuring.is_warm(runs_s):
            runs_s.append(self._timed(inputs))
        return {"run_s": float(np.median(runs_s[-measuring.WARM_RUNS :]))}

    def time(self, order: dict[str, Any]) -> dict[str, Any]:
        """Return the median of some runs, after a moment of runs that do not count."""
        inputs, woken_s = self._prepared(order["rows"]), 0.0
        while woken_s < _WAKING_S:
            woken_s += self._timed(inputs)
        return {"run_s": float(np.median([self._timed(inputs) for _ in range(order["runs"])]))}

    def memory(self, order: dict[str, Any]) -> dict[str, Any]:
        """Return the most memory since before the model was opened, less what there was then."""
        return {"memory_bytes": max(0, process_memory.peak_bytes() - self._before_bytes)}

    def evaluate(self, order: dict[str, Any]) -> dict[str, Any]:
        """Write one output for all rows to a file, as a column."""
        name, size = order["output"], order["rows"]
        with ColumnWriter(
            self._folder / order["file"],
            name=name,
            label=False,
            row_count=self._rows.row_count,
            bytes_max=OUTPUT_BYTES_MAX,
        ) as writer:
            for inputs in self._rows.batches(size):
                writer.append(*_storable(self._output(name, inputs, size)))
            column = writer.finished()
        return {"datatype": column.datatype, "row_shape": list(column.row_shape)}

    def _output(self, name: str, inputs: dict[str, Array], size: int) -> Array:
        """Return one output; a last batch that is too small is filled up where the model's size is fixed."""
        rows = fixed_rows(self._model.inputs)
        count = next((len(array) for array in inputs.values() if array.ndim), 1) if rows != 1 else 1
        if rows is not None and rows != 1 and count < size:
            inputs = {key: np.resize(array, (size, *array.shape[1:])) for key, array in inputs.items()}
        output = self._model.results(inputs)[name]
        if rows == 1 and (output.ndim == 0 or len(output) != 1):
            return output[np.newaxis]
        if output.ndim == 0 or len(output) < count:
            raise _without_rows(name, output)
        return output[:count]

    def _timed(self, inputs: dict[str, Array]) -> float:
        began_s = time.perf_counter()
        self._model.run(inputs)
        return time.perf_counter() - began_s

    def _prepared(self, rows: int) -> dict[str, Array]:
        if rows not in self._inputs:
            self._inputs[rows] = self._model.prepared(self._rows.some(rows))
        return self._inputs[rows]


def _storable(output: Array) -> tuple[Array, str]:
    datatype = of_array(output).name
    if datatype == BYTES.name:
        texts = np.empty(output.size, dtype=object)
        texts[:] = [
            text if isinstance(text, bytes) else str(text).encode() for text in output.ravel().tolist()
        ]
        return texts.reshape(output.shape), datatype
    if datatype == "BF16":  # which a file of arrays has no type for, and which floats hold
        return np.ascontiguousarray(output, np.float32), "FP32"
    return np.ascontiguousarray(output), datatype


def _refused(error: ServemeshError) -> InvalidError:
    return InvalidError(
        f"the model does not run on inputs made up from its signature ({error.message}): name a Dataset with rows that "
        "it takes",
        reason="GENERATED_INPUTS_REFUSED",
        field="dataset",
        cause=error.message,
    )


def _without_rows(name: str, output: Array) -> InvalidError:
    return InvalidError(
        f"output {name!r} has shape {list(output.shape)}, which is not a row for each row of the inputs: name another "
        "output to measure",
        reason="OUTPUT_WITHOUT_ROWS",
        field="measurement.output",
        expected="a first axis of rows",
        got=list(output.shape),
    )


def main(folder: Path) -> None:
    """Answer until standard input ends. What libraries print lands on standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    text_locale.lend(folder / "locale")
    probe = Probe(folder)
    doing: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
        "open": probe.open,
        "warm": probe.warm,
        "time": probe.time,
        "memory": probe.memory,
        "evaluate": probe.evaluate,
    }
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = doing[order["do"]](order)
        except ServemeshError as error:
            answer = {"error": messages.from_error(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

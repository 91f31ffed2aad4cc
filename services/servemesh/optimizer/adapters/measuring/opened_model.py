"""A model on onnxruntime, opened and run as the worker does it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from servemesh.runtime.sessions import RunOptions, RuntimeOptions, open_session
from servemesh.runtime.values import as_text, failure_of_run, runner, specs_of

Array = np.ndarray[Any, Any]


class OpenedModel:
    """One model in memory. Typed errors if onnxruntime refuses it or its inputs."""

    def __init__(self, path: Path, *, threads: int) -> None:
        session = open_session(path, RuntimeOptions(threads=threads))
        self.inputs = specs_of(session.get_inputs())
        self.outputs = specs_of(session.get_outputs())
        self.provider = str(session.get_providers()[0])
        self._names = [spec.name for spec in self.outputs]
        self._texts = {spec.name for spec in self.inputs if spec.datatype == "BYTES"}
        self._run = runner(session, (*self.inputs, *self.outputs))

    def prepared(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the inputs as `run` takes them: text decoded, rows one after the other in memory."""
        return {
            name: as_text(name, array) if name in self._texts else np.ascontiguousarray(array)
            for name, array in inputs.items()
        }

    def run(self, prepared: Mapping[str, Array]) -> list[Array]:
        """Return all outputs in the order of the model."""
        try:
            return self._run(self._names, prepared, RunOptions())
        except Exception as error:  # onnxruntime has a class for each of its codes, without a common one
            raise failure_of_run(error) from error

    def results(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs by name for inputs as a Dataset or a caller has them."""
        return dict(zip(self._names, self.run(self.prepared(inputs)), strict=True))

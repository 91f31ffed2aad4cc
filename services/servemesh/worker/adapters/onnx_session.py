"""Runs ONNX models with onnxruntime, on the processor or on an NVIDIA device."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from servemesh.observe import names
from servemesh.runtime.sessions import RunOptions, RuntimeOptions, open_session
from servemesh.runtime.values import ValueSpec, as_text, failure_of_run, runner, specs_of
from servemesh.worker.domain.signature import TensorSpec
from servemesh.worker.service.execution import Array, Stop, StoppedError

TERMINATED = "terminate flag"

log = logging.getLogger(__name__)


class OnnxSession:
    """One model in memory. `run` blocks and may be called from several threads."""

    def __init__(self, session: Any, memory_bytes: int) -> None:
        self.memory_bytes = memory_bytes
        self.providers_got: tuple[str, ...] = tuple(session.get_providers())
        inputs, outputs = specs_of(session.get_inputs()), specs_of(session.get_outputs())
        self.inputs = tuple(map(_spec, inputs))
        self.outputs = tuple(map(_spec, outputs))
        self._texts = {spec.name for spec in inputs if spec.datatype == "BYTES"}
        self._run: Any = runner(session, (*inputs, *outputs))

    @classmethod
    async def open(cls, path: Path, options: RuntimeOptions) -> OnnxSession:
        """Read the model at `path`. InvalidError if onnxruntime refuses it, OverloadedError without memory."""
        return await asyncio.to_thread(cls._open, path, options)

    @classmethod
    def _open(cls, path: Path, options: RuntimeOptions) -> OnnxSession:
        before_bytes = psutil.Process().memory_info().rss
        session = open_session(path, options)
        grown_bytes = psutil.Process().memory_info().rss - before_bytes
        files_bytes = sum(file.stat().st_size for file in path.parent.iterdir() if file.is_file())
        opened = cls(session, max(grown_bytes, files_bytes))
        if opened.providers_got[0] != options.providers[0]:
            log.warning(
                names.PROVIDER_UNAVAILABLE,
                extra={"asked": list(options.providers), "got": list(opened.providers_got)},
            )
        return opened

    def close(self) -> None:
        """Free the model once the last run has ended; runs after this fail."""
        self._run = None

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str], stop: Stop) -> list[Array]:
        """Return the outputs. InvalidError if the model refuses the values, StoppedError if it was stopped."""
        options = RunOptions()
        stop.on_stop(lambda: setattr(options, "terminate", True))
        if self._texts:
            inputs = {
                name: as_text(name, array) if name in self._texts else array for name, array in inputs.items()
            }
        try:
            arrays: list[Array] = self._run(outputs, inputs, options)
        except Exception as error:  # onnxruntime has a class for each of its codes, without a common one
            if stop.stopped and TERMINATED in str(error):
                raise StoppedError("the run was stopped") from error
            raise failure_of_run(error) from error
        return arrays


def _spec(value: ValueSpec) -> TensorSpec:
    return TensorSpec(name=value.name, datatype=value.datatype, shape=value.shape)

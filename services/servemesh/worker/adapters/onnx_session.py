"""Runs ONNX models with onnxruntime, on the processor or on an NVIDIA device."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnxruntime as ort
import psutil
from onnxruntime.capi import onnxruntime_pybind11_state as failures

from servemesh.errors import InvalidError, OverloadedError, ServemeshError
from servemesh.observe import names
from servemesh.worker.adapters.onnx_reasons import reason_of
from servemesh.worker.domain.signature import ANY_SIZE, TensorSpec
from servemesh.worker.service.execution import Array, Stop, StoppedError

DATATYPE_OF = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(bfloat16)": "BF16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}
BFLOAT16 = 16  # TensorProto.DataType of bfloat16, which numpy has no type for
TERMINATED = "terminate flag"
NO_MEMORY = re.compile("allocate memory|out of memory|bad_alloc", re.IGNORECASE)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeOptions:
    """How sessions are opened: providers in order of preference, threads of one run, memory of a device."""

    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    threads: int = 1
    device_memory_bytes_max: int = 0  # 0 leaves it to the device
    engine_dir: str = ""  # where TensorRT keeps its engines; empty keeps none
    # Reuses memory between runs; it grows with the largest shapes seen and never shrinks.
    uses_arena: bool = True


class OnnxSession:
    """One model in memory. `run` blocks and may be called from several threads."""

    def __init__(self, session: Any, memory_bytes: int) -> None:
        self._session = session
        self.memory_bytes = memory_bytes
        self.providers_got: tuple[str, ...] = tuple(session.get_providers())
        self.inputs = tuple(map(_spec, session.get_inputs()))
        self.outputs = tuple(map(_spec, session.get_outputs()))
        self._texts = {spec.name for spec in self.inputs if spec.datatype == "BYTES"}
        kinds = {spec.datatype for spec in (*self.inputs, *self.outputs)}
        self._run = self._run_values if "BF16" in kinds else self._run_arrays

    @classmethod
    async def open(cls, path: Path, options: RuntimeOptions) -> OnnxSession:
        """Read the model at `path`. InvalidError if onnxruntime refuses it, OverloadedError without memory."""
        return await asyncio.to_thread(cls._open, path, options)

    @classmethod
    def _open(cls, path: Path, options: RuntimeOptions) -> OnnxSession:
        before_bytes = psutil.Process().memory_info().rss
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = options.threads
        settings.inter_op_num_threads = 1
        settings.enable_cpu_mem_arena = options.uses_arena
        settings.log_severity_level = 4  # what goes wrong is raised, and logged by whoever answers it
        # Threads that spin for work take the processor from the event loop and from other slots.
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = ort.InferenceSession(str(path), settings, providers=_providers(options))
        except Exception as error:  # onnxruntime has a class for each of its codes, without a common one
            raise _refusal_of_model(error, path) from error
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
        self._session = None

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str], stop: Stop) -> list[Array]:
        """Return the outputs. InvalidError if the model refuses the values, StoppedError if it was stopped."""
        options = ort.RunOptions()
        stop.on_stop(lambda: setattr(options, "terminate", True))
        if self._texts:
            inputs = {
                name: _text(name, array) if name in self._texts else array for name, array in inputs.items()
            }
        try:
            return self._run(inputs, outputs, options)
        except Exception as error:  # onnxruntime has a class for each of its codes, without a common one
            raise _failure_of_run(error, stop) from error

    def _run_arrays(self, inputs: Mapping[str, Array], outputs: Sequence[str], options: Any) -> list[Array]:
        arrays: list[Array] = self._session.run(outputs, inputs, options)
        return arrays

    def _run_values(self, inputs: Mapping[str, Array], outputs: Sequence[str], options: Any) -> list[Array]:
        values = {name: _value(array) for name, array in inputs.items()}
        return [_array(value) for value in self._session.run_with_ort_values(outputs, values, options)]


def _spec(value: Any) -> TensorSpec:
    datatype = DATATYPE_OF.get(value.type)
    if datatype is None:
        raise InvalidError(
            f"{value.name} is a {value.type}, which the protocol cannot carry",
            reason="MODEL_UNSUPPORTED",
            field=value.name,
            expected="a tensor",
            got=value.type,
        )
    shape = tuple(size if isinstance(size, int) and size >= 0 else ANY_SIZE for size in value.shape)
    return TensorSpec(name=value.name, datatype=datatype, shape=shape)


def _providers(options: RuntimeOptions) -> list[tuple[str, dict[str, str]]]:
    available = set(ort.get_available_providers())
    wanted = [name for name in options.providers if name in available] or ["CPUExecutionProvider"]
    return [(name, _provider_options(name, options)) for name in wanted]


def _provider_options(name: str, options: RuntimeOptions) -> dict[str, str]:
    if name == "CUDAExecutionProvider" and options.device_memory_bytes_max:
        return {"gpu_mem_limit": str(options.device_memory_bytes_max)}
    if name == "TensorrtExecutionProvider" and options.engine_dir:
        return {"trt_engine_cache_enable": "1", "trt_engine_cache_path": options.engine_dir}
    return {}


def _text(name: str, array: Array) -> Array:
    try:
        texts = [element.decode() if isinstance(element, bytes) else element for element in array.ravel()]
    except UnicodeDecodeError as error:
        raise InvalidError(
            f"inputs.{name} has an element that is not UTF-8, which is all that text in a model can be",
            reason="CONTENTS_INVALID",
            field=f"inputs.{name}",
            expected="UTF-8",
        ) from error
    decoded = np.empty(len(texts), dtype=object)
    decoded[:] = texts
    return decoded.reshape(array.shape)


def _value(array: Array) -> Any:
    if array.dtype == ml_dtypes.bfloat16:
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array.view(np.uint16), BFLOAT16)
    return ort.OrtValue.ortvalue_from_numpy(array)


def _array(value: Any) -> Array:
    if value.data_type() != "tensor(bfloat16)":
        array: Array = value.numpy()
        return array
    raw = value._ortvalue
    data = ctypes.string_at(raw.data_ptr(), raw.tensor_size_in_bytes()) if 0 not in value.shape() else b""
    return np.frombuffer(data, ml_dtypes.bfloat16).reshape(value.shape())


def _refusal_of_model(error: Exception, path: Path) -> ServemeshError:
    if NO_MEMORY.search(str(error)):
        return OverloadedError("the model does not fit in memory", reason="MODEL_TOO_LARGE")
    cause = reason_of(error, str(path.parent)) or type(error).__name__
    return InvalidError(
        f"onnxruntime refuses the model: {cause}", reason="MODEL_REFUSED", field="artifact", cause=cause
    )


def _failure_of_run(error: Exception, stop: Stop) -> ServemeshError:
    if isinstance(error, ServemeshError):
        return error
    if stop.stopped and TERMINATED in str(error):
        return StoppedError("the run was stopped")
    cause = reason_of(error) or type(error).__name__
    if isinstance(error, failures.InvalidArgument):
        return InvalidError(
            f"the model refuses the values of its inputs: {cause}",
            reason="VALUES_REFUSED",
            field="inputs",
            cause=cause,
        )
    if isinstance(error, MemoryError) or NO_MEMORY.search(str(error)):
        return OverloadedError("the model ran out of memory on these inputs", reason="MODEL_OUT_OF_MEMORY")
    return ServemeshError(
        f"the model failed on these inputs: {cause}", reason="MODEL_RUN_FAILED", cause=cause
    )

"""Sessions of onnxruntime: how a model is opened, so that whoever measures one opens it as the worker does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort

from servemesh.errors import InvalidError, OverloadedError, ServemeshError
from servemesh.runtime.reasons import reason_of

# The options of one run, made for each; setting `terminate` on them stops it.
RunOptions = ort.RunOptions
NO_MEMORY = re.compile("allocate memory|out of memory|bad_alloc", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeOptions:
    """How sessions are opened: providers in order of preference, threads of one run, memory of a device."""

    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    threads: int = 1
    device_memory_bytes_max: int = 0  # 0 leaves it to the device
    engine_dir: str = ""  # where TensorRT keeps its engines; empty keeps none
    # Reuses memory between runs; it grows with the largest shapes seen and never shrinks.
    uses_arena: bool = True


def open_session(path: Path, options: RuntimeOptions) -> ort.InferenceSession:
    """Read the model at `path`. InvalidError if onnxruntime refuses it, OverloadedError without memory."""
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.enable_cpu_mem_arena = options.uses_arena
    settings.log_severity_level = 4  # what goes wrong is raised, and logged by whoever answers it
    # Threads that spin for work take the processor from the event loop and from other slots.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(str(path), settings, providers=_providers(options))
    except Exception as error:  # onnxruntime has a class for each of its codes, without a common one
        raise _refusal_of_model(error, path) from error


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


def _refusal_of_model(error: Exception, path: Path) -> ServemeshError:
    if NO_MEMORY.search(str(error)):
        return OverloadedError("the model does not fit in memory", reason="MODEL_TOO_LARGE")
    cause = reason_of(error, str(path.parent)) or type(error).__name__
    return InvalidError(
        f"onnxruntime refuses the model: {cause}", reason="MODEL_REFUSED", field="artifact", cause=cause
    )

"""What the GPUs of the machine do, as NVIDIA's library tells it; nothing where there is none."""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from servemesh.observe import metrics, names
from servemesh.observe.metrics import Family, Labels

_DRIVER = Path("/dev/nvidiactl")


@contextmanager
def watching_gpus() -> Iterator[None]:
    """Show the GPUs for the length of the block, if there is one, its driver answers and the library is there."""
    if not _DRIVER.exists() or importlib.util.find_spec("pynvml") is None:
        yield
        return
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield
        return
    try:
        with metrics.collecting(GpuSeries(pynvml)):
            yield
    finally:
        pynvml.nvmlShutdown()


class GpuSeries:
    """A collector over NVML; what a GPU cannot tell is left out."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self._host = socket.gethostname()

    def collect(self) -> Iterator[Family]:
        """Yield every family."""
        nvml = self._nvml
        gpus = {
            str(index): nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())
        }

        def told(read: Callable[[Any], float]) -> dict[Labels, float]:
            found: dict[Labels, float] = {}
            for gpu, handle in gpus.items():
                try:
                    found[self._host, gpu] = read(handle)
                except nvml.NVMLError:
                    continue
            return found

        yield metrics.gauged(
            names.GPU_BUSY, told(lambda gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100)
        )
        yield metrics.gauged(names.GPU_MEMORY_USED, told(lambda gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).used))
        yield metrics.gauged(names.GPU_MEMORY_MAX, told(lambda gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).total))
        yield metrics.gauged(names.GPU_POWER, told(lambda gpu: nvml.nvmlDeviceGetPowerUsage(gpu) / 1000))
        yield metrics.gauged(
            names.GPU_TEMPERATURE,
            told(lambda gpu: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU)),
        )
        kinds = {
            "corrected": nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED,
            "uncorrected": nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
        }
        errors: dict[Labels, float] = {}
        for kind, code in kinds.items():
            counts = told(
                lambda gpu, code=code: nvml.nvmlDeviceGetTotalEccErrors(gpu, code, nvml.NVML_VOLATILE_ECC)  # type: ignore[misc]
            )
            errors |= {(*labels, kind): count for labels, count in counts.items()}
        yield metrics.counted(names.GPU_ECC_ERRORS, errors)

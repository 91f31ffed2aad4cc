"""What is told of processors, memory, disks and GPUs."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from servemesh.observe.gpu import GpuSeries
from servemesh.observe.host import HostSeries, ProcessSeries, busy_share
from servemesh.observe.metrics import Family

Times = namedtuple("Times", "user system idle iowait guest")
BEGIN = Times(10.0, 5.0, 100.0, 10.0, 3.0)


@pytest.mark.parametrize(
    ("now", "share"),
    [
        (Times(11.0, 6.0, 102.0, 10.0, 3.0), 0.5),
        (Times(10.0, 5.0, 101.0, 11.0, 3.0), 0.0),
        (Times(12.0, 5.0, 100.0, 10.0, 5.0), 1.0),  # the time of guests is in that of users
        (BEGIN, 0.0),
    ],
)
def test_processors_are_busy_while_they_neither_idle_nor_wait(now: Times, share: float):
    assert busy_share(BEGIN, now) == share


def values(families: Iterable[Family]) -> dict[str, float]:
    return {sample.name: sample.value for family in families for sample in family.samples}


def test_the_machine_under_us_has_processors_memory_and_a_disk(tmp_path: Path):
    found = values(HostSeries(tmp_path).collect())
    assert found["servemesh_host_processors"] >= 1
    assert 0 < found["servemesh_host_memory_used_bytes"] < found["servemesh_host_memory_max_bytes"]
    assert 0 < found["servemesh_host_disk_used_bytes"] < found["servemesh_host_disk_max_bytes"]
    assert "servemesh_host_disk_used_bytes" not in values(HostSeries(tmp_path / "gone").collect())


def test_a_process_tells_what_it_uses():
    found = values(ProcessSeries().collect())
    assert found["servemesh_process_cpu_seconds_total"] > 0
    assert found["servemesh_process_memory_bytes"] > 1_000_000


class NvmlError(Exception):
    """What NVML raises."""


class OldGpu:
    """The part of NVML that is asked, over one GPU that counts no errors of its memory."""

    NVMLError = NvmlError
    NVML_TEMPERATURE_GPU, NVML_VOLATILE_ECC = 0, 0
    NVML_MEMORY_ERROR_TYPE_CORRECTED, NVML_MEMORY_ERROR_TYPE_UNCORRECTED = 0, 1

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetUtilizationRates(self, gpu: int) -> Any:
        return SimpleNamespace(gpu=40, memory=10)

    def nvmlDeviceGetMemoryInfo(self, gpu: int) -> Any:
        return SimpleNamespace(used=3 << 30, total=8 << 30)

    def nvmlDeviceGetPowerUsage(self, gpu: int) -> int:
        return 71_500

    def nvmlDeviceGetTemperature(self, gpu: int, sensor: int) -> int:
        return 55

    def nvmlDeviceGetTotalEccErrors(self, gpu: int, kind: int, counter: int) -> int:
        raise NvmlError("not supported")


def test_a_gpu_tells_what_it_can_in_base_units():
    families = list(GpuSeries(OldGpu()).collect())
    assert values(families) == {
        "servemesh_gpu_busy": 0.4,
        "servemesh_gpu_memory_used_bytes": 3 << 30,
        "servemesh_gpu_memory_max_bytes": 8 << 30,
        "servemesh_gpu_power_watts": 71.5,
        "servemesh_gpu_temperature_celsius": 55,
    }
    (sample,) = families[0].samples
    assert sample.labels["gpu"] == "0"

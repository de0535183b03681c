"""NVML's answers, with and without a device. No machine of the tests has MIG: its calls are answered here instead."""

import os
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from service.gpu import GpuReading, GpuUnavailable, read_gpus


def has_gpu() -> bool:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return False
    return int(pynvml.nvmlDeviceGetCount()) > 0


@pytest.mark.skipif(has_gpu(), reason="this machine has a GPU")
def test_without_a_driver_the_reason_is_nvmls_own() -> None:
    """Not an empty list, which would read as a driver without devices."""
    with pytest.raises(GpuUnavailable, match="NVML"):
        read_gpus()


@pytest.mark.skipif(not has_gpu(), reason="this machine has no GPU")
def test_a_device_tells_plausible_values() -> None:
    """Ratios within 1, memory within what there is."""
    for reading in read_gpus():
        assert reading.utilization_ratio is None or 0 <= reading.utilization_ratio <= 1
        assert reading.memory_used_bytes is not None and reading.memory_total_bytes is not None
        assert 0 <= reading.memory_used_bytes <= reading.memory_total_bytes


def test_mig_slices_follow_their_device_and_lack_what_nvml_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """With MIG on, utilisation is not supported; a place without a slice is not found; the others have memory."""

    def refuse(error: int) -> Any:
        def read(*_: object) -> Any:
            raise pynvml.NVMLError(error)

        return read

    def slice_at(_device: str, place: int) -> str:
        return "slice" if place == 1 else refuse(pynvml.NVML_ERROR_NOT_FOUND)()

    answers: dict[str, Any] = {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda index: "device",
        "nvmlDeviceGetMigMode": lambda device: (pynvml.NVML_DEVICE_MIG_ENABLE, 0),
        "nvmlDeviceGetMaxMigDeviceCount": lambda device: 2,
        "nvmlDeviceGetMigDeviceHandleByIndex": slice_at,
        "nvmlDeviceGetUtilizationRates": refuse(pynvml.NVML_ERROR_NOT_SUPPORTED),
        "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(used=3, total=8 if handle == "slice" else 80),
        "nvmlDeviceGetTemperature": lambda *_: 40,
        "nvmlDeviceGetPowerUsage": lambda device: 75_500,
        "nvmlDeviceGetComputeRunningProcesses": lambda handle: (
            [SimpleNamespace(pid=os.getpid(), usedGpuMemory=2)] if handle == "slice" else []
        ),
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, answer)
    assert read_gpus() == [
        GpuReading("0", None, 3.0, 80.0, 40.0, 75.5, None),
        GpuReading("0:1", None, 3.0, 8.0, None, None, 2.0),
    ]

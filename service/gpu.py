"""NVML readings, or a clear "unavailable"."""

from dataclasses import dataclass

import pynvml


@dataclass(frozen=True)
class GpuReading:
    """One device, once."""

    index: int
    utilization_ratio: float
    memory_used_bytes: int
    memory_total_bytes: int
    temperature_celsius: float
    power_watts: float


class GpuUnavailable(Exception):
    """No NVIDIA driver, or none that answers; the message is NVML's."""


def read_gpus() -> list[GpuReading]:
    """Every device NVML sees. Raises GpuUnavailable."""
    try:
        pynvml.nvmlInit()
        return [_read(index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as error:
        raise GpuUnavailable(str(error)) from error


def _read(index: int) -> GpuReading:
    device = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(device)
    return GpuReading(
        index=index,
        utilization_ratio=pynvml.nvmlDeviceGetUtilizationRates(device).gpu / 100,
        memory_used_bytes=int(memory.used),
        memory_total_bytes=int(memory.total),
        temperature_celsius=float(pynvml.nvmlDeviceGetTemperature(device, pynvml.NVML_TEMPERATURE_GPU)),
        power_watts=pynvml.nvmlDeviceGetPowerUsage(device) / 1000,
    )

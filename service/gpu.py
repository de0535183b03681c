"""NVML readings of devices, MIG slices and this process, or a clear "unavailable"."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import pynvml

Value = TypeVar("Value")


@dataclass(frozen=True)
class GpuReading:
    """
    One device or MIG slice, once. A field is None where NVML has no value for it.

    A device with MIG on has no utilisation of its own; its slices have memory, and nothing else. The memory of this
    process is known where NVML sees its process id, which it does not in a container with its own.
    """

    gpu: str  # "0" for a device, "0:1" for slice 1 of device 0
    utilization_ratio: float | None
    memory_used_bytes: float | None
    memory_total_bytes: float | None
    temperature_celsius: float | None
    power_watts: float | None
    process_memory_used_bytes: float | None


class GpuUnavailable(Exception):
    """No NVIDIA driver, or none that answers; the message is NVML's."""


def read_gpus() -> list[GpuReading]:
    """Every device NVML sees, each followed by its MIG slices. Raises GpuUnavailable."""
    try:
        pynvml.nvmlInit()
        readings = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            device = pynvml.nvmlDeviceGetHandleByIndex(index)
            readings += [_read_device(str(index), device), *_read_slices(index, device)]
    except pynvml.NVMLError as error:
        raise GpuUnavailable(str(error)) from error
    if not readings:
        raise GpuUnavailable("NVML answers and sees no device")
    return readings


def _read_device(gpu: str, device: Any) -> GpuReading:
    milliwatts = _known(lambda: pynvml.nvmlDeviceGetPowerUsage(device))
    return GpuReading(
        gpu,
        _known(lambda: pynvml.nvmlDeviceGetUtilizationRates(device).gpu / 100),
        *_memory(device),
        _known(lambda: float(pynvml.nvmlDeviceGetTemperature(device, pynvml.NVML_TEMPERATURE_GPU))),
        None if milliwatts is None else milliwatts / 1000,
        _of_this_process(device),
    )


def _read_slices(index: int, device: Any) -> list[GpuReading]:
    mode = _known(lambda: pynvml.nvmlDeviceGetMigMode(device))
    if mode is None or mode[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
        return []
    handles = (
        (place, _known(lambda place=place: pynvml.nvmlDeviceGetMigDeviceHandleByIndex(device, place)))  # type: ignore[misc]
        for place in range(_known(lambda: pynvml.nvmlDeviceGetMaxMigDeviceCount(device)) or 0)
    )
    return [_read_slice(f"{index}:{place}", handle) for place, handle in handles if handle is not None]


def _read_slice(gpu: str, handle: Any) -> GpuReading:
    return GpuReading(gpu, None, *_memory(handle), None, None, _of_this_process(handle))


def _memory(device: Any) -> tuple[float | None, float | None]:
    """Bytes used, and there in all."""
    memory = _known(lambda: pynvml.nvmlDeviceGetMemoryInfo(device))
    return (None, None) if memory is None else (float(memory.used), float(memory.total))


def _of_this_process(device: Any) -> float | None:
    processes = _known(lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(device)) or []
    used = [process.usedGpuMemory for process in processes if process.pid == os.getpid()]
    return float(sum(used)) if used and None not in used else None


def _known(read: Callable[[], Value]) -> Value | None:
    """What read gives, or None where this device or the rights of this process do not give it."""
    try:
        return read()
    except (
        pynvml.NVMLError_NotSupported,
        pynvml.NVMLError_NoPermission,
        pynvml.NVMLError_NotFound,
        pynvml.NVMLError_InvalidArgument,
        pynvml.NVMLError_FunctionNotFound,
    ):
        return None

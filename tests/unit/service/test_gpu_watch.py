"""Readings on a clock: of a device that comes and goes, and where there is none."""

import asyncio

import pytest

from service.gpu import GpuReading, GpuUnavailable
from service.gpu_watch import watch_gpus

READING = GpuReading("0", 0.5, 1.0, 2.0, 40.0, 75.0, None)


async def test_a_device_that_stops_answering_is_asked_again() -> None:
    """Fallen off the bus, it is told as gone; when it is back, so are its values."""
    answers = iter([[READING], GpuUnavailable("GPU is lost"), GpuUnavailable("GPU is lost"), [READING]])
    told: list[list[GpuReading]] = []
    enough = asyncio.Event()

    def read() -> list[GpuReading]:
        answer = next(answers, [READING])
        if isinstance(answer, GpuUnavailable):
            raise answer
        return answer

    def hear(readings: list[GpuReading]) -> None:
        told.append(readings)
        if len(told) == 4:
            enough.set()

    watching = asyncio.create_task(watch_gpus(hear, read, period_s=0.001))
    await asyncio.wait_for(enough.wait(), 10)
    watching.cancel()
    assert told[:4] == [[READING], [], [], [READING]]


async def test_where_there_never_was_a_device_nobody_keeps_asking() -> None:
    """One look, and the metrics say that there is none."""
    told: list[list[GpuReading]] = []

    def read() -> list[GpuReading]:
        raise GpuUnavailable("NVML Shared Library Not Found")

    await asyncio.wait_for(watch_gpus(told.append, read, period_s=3600), 10)
    assert told == [[]]


@pytest.mark.parametrize("failure", [OSError("no such device")])
async def test_other_failures_are_not_swallowed(failure: Exception) -> None:
    """Only what NVML says about itself is expected."""

    def read() -> list[GpuReading]:
        raise failure

    with pytest.raises(OSError, match="no such device"):
        await watch_gpus(lambda _: None, read)

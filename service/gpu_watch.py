"""GPU readings on a clock, for the metrics."""

import asyncio
from collections.abc import Callable

import structlog

from service.gpu import GpuReading, GpuUnavailable, read_gpus

_PERIOD_S = 5.0
_log = structlog.get_logger("service")


async def watch_gpus(
    told: Callable[[list[GpuReading]], None],
    read: Callable[[], list[GpuReading]] = read_gpus,
    period_s: float = _PERIOD_S,
) -> None:
    """Tell of every device for ever. Ends where there never was one; one that stops answering is asked again."""
    seen = failing = False
    while True:
        try:
            told(await asyncio.to_thread(read))
            seen, failing = True, False
        except GpuUnavailable as error:
            told([])
            if not failing:
                _log.info("GPU metrics unavailable", reason=str(error))
            failing = True
            if not seen:
                return
        await asyncio.sleep(period_s)

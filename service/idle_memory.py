"""Gives the system back what the C allocator keeps, so that an idle pod shows the memory it needs and not its past."""

import asyncio
import ctypes
import gc
import os
from collections.abc import Callable
from pathlib import Path

_PERIOD_S = 2.0
_WORTH_BYTES = 4 * 2**20  # less than this is not worth a pass over every arena
_STATM = Path("/proc/self/statm")


def resident_bytes() -> int:
    """Of this process; 0 where the system does not tell."""
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if _STATM.exists() else 0


def allocator_trim() -> Callable[[int], int] | None:
    """glibc's malloc_trim (man 3 malloc_trim); None where the C library has none, as musl."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


async def trim_when_idle(in_flight: Callable[[], int], period_s: float = _PERIOD_S) -> None:
    """
    For ever: once nothing is in flight and memory has grown since last time, give back what is free.

    First the little that only the garbage collector finds, which comes by rarely (service/interpreter.py). Then what
    the allocator kept: decoding and masks allocate from one arena a thread, and what is freed below the top of an arena
    stays resident until somebody asks. Ends at once where the allocator cannot be asked.
    """
    trim = allocator_trim()
    if trim is None:
        return
    settled_bytes = 0
    while True:
        await asyncio.sleep(period_s)
        if in_flight() == 0 and resident_bytes() > settled_bytes + _WORTH_BYTES:
            gc.collect()
            await asyncio.to_thread(trim, 0)
            settled_bytes = resident_bytes()

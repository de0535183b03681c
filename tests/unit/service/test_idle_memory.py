"""What was freed goes back to the system once nothing is in flight, and not before."""

import asyncio

import pytest

from service.idle_memory import allocator_trim, resident_bytes, trim_when_idle

BLOCKS, BLOCK_BYTES = 30_000, 2_000
pytestmark = pytest.mark.skipif(allocator_trim() is None, reason="the C library cannot be asked to give memory back")


def free_below_the_top() -> tuple[bytearray, int]:
    """Blocks from the heap, all freed but the last, which keeps the rest from going back by itself; bytes in use."""
    blocks = [bytearray(BLOCK_BYTES) for _ in range(BLOCKS)]
    last = blocks[-1]
    del blocks
    return last, resident_bytes()


async def test_an_idle_process_gives_back_what_is_free() -> None:
    last, before = free_below_the_top()
    watching = asyncio.create_task(trim_when_idle(lambda: 0, period_s=0.01))
    async with asyncio.timeout(30):
        while resident_bytes() >= before - BLOCKS * BLOCK_BYTES / 2:
            await asyncio.sleep(0.01)
    watching.cancel()
    assert len(last) == BLOCK_BYTES


async def test_nothing_is_done_while_a_request_is_in_flight() -> None:
    last, before = free_below_the_top()
    watching = asyncio.create_task(trim_when_idle(lambda: 1, period_s=0.01))
    await asyncio.sleep(0.5)
    watching.cancel()
    assert resident_bytes() > before - BLOCKS * BLOCK_BYTES / 2
    assert len(last) == BLOCK_BYTES

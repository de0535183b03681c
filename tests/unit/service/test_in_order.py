"""Many under way, results in order."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from service.api.grpc.in_order import in_order


async def numbers(count: int, read: list[int]) -> AsyncIterator[int]:
    for number in range(count):
        read.append(number)
        yield number


async def test_results_keep_the_order_of_items_whatever_finishes_first() -> None:
    """Later items finish first here; each result stands in its place."""
    finished: list[int] = []
    gates = [asyncio.Event() for _ in range(5)]

    async def work(index: int, item: int) -> int:
        if index < 4:
            await gates[index + 1].wait()  # everyone waits for the next
        finished.append(index)
        gates[index].set()
        return item * 10

    assert [result async for result in in_order(numbers(5, []), work, most=5)] == [0, 10, 20, 30, 40]
    assert finished == [4, 3, 2, 1, 0]


async def test_no_more_is_read_than_may_be_under_way() -> None:
    """With three places, the fourth item is read only once the first result is taken and the next is asked for."""
    read: list[int] = []

    async def work(index: int, item: int) -> int:
        return item

    results = in_order(numbers(10, read), work, most=3)
    assert await anext(results) == 0
    for _ in range(20):
        await asyncio.sleep(0)
    assert read == [0, 1, 2]
    assert await anext(results) == 1
    for _ in range(20):
        await asyncio.sleep(0)
    assert read == [0, 1, 2, 3]
    assert [result async for result in results] == [2, 3, 4, 5, 6, 7, 8, 9]


async def test_whoever_stops_taking_cancels_what_is_under_way() -> None:
    """Closing the iterator leaves no task behind."""
    cancelled: list[int] = []

    async def work(index: int, item: int) -> int:
        try:
            await asyncio.sleep(0 if index == 0 else 3600)
        except asyncio.CancelledError:
            cancelled.append(index)
            raise
        return item

    results = in_order(numbers(4, []), work, most=4)
    assert await anext(results) == 0
    await results.aclose()  # type: ignore[attr-defined]  # an async generator
    assert sorted(cancelled) == [1, 2, 3]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_what_reading_raises_comes_after_what_was_read() -> None:
    """Two items, then the source breaks: two results, then its error."""

    async def broken() -> AsyncIterator[int]:
        yield 1
        yield 2
        raise ConnectionError("gone")

    async def work(index: int, item: int) -> int:
        return item

    results = in_order(broken(), work, most=8)
    assert [await anext(results), await anext(results)] == [1, 2]
    with pytest.raises(ConnectionError, match="gone"):
        await anext(results)

"""Many items under way at once, their results in order."""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def in_order(
    items: AsyncIterable[Item], work: Callable[[int, Item], Awaitable[Result]], most: int
) -> AsyncIterator[Result]:
    """
    work(index, item) of every item, in the order of items.

    At most `most` are under way or waiting to be taken; until one is taken, nothing more is read. Whoever stops taking
    cancels what is under way. Raises what reading items or work raises.
    """
    places, started = asyncio.Semaphore(most), deque["asyncio.Task[Result]"]()
    arrived = asyncio.Event()

    async def read() -> None:
        iterator, index = aiter(items), 0
        try:
            while True:
                await places.acquire()
                started.append(asyncio.ensure_future(work(index, await anext(iterator))))
                index += 1
                arrived.set()
        except StopAsyncIteration:
            pass
        finally:
            arrived.set()

    reader = asyncio.create_task(read())
    try:
        while True:
            if started:
                yield await started[0]
                started.popleft()
                places.release()
            elif reader.done():
                reader.result()  # raises what reading raised
                return
            else:
                arrived.clear()
                await arrived.wait()
    finally:
        for task in (reader, *started):
            task.cancel()
        await asyncio.gather(reader, *started, return_exceptions=True)

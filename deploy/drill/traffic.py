"""Callers, one request after another at a steady rate, whatever becomes of those before (open loop)."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

import httpx


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: a model, an encoded image, headers, how long the caller has patience, and options as a query."""

    model: str
    image: bytes
    headers: dict[str, str] = field(default_factory=dict)
    patience_s: float = 30.0
    options: dict[str, str] = field(default_factory=dict)


@contextmanager
def traffic(url: str, per_second: float, ask: Callable[[int], Ask]) -> Iterator[Counter[str]]:
    """Send ask(0), ask(1), ... until the block ends. Yields counts of status codes, and of "left" for broken ones."""
    seen: Counter[str] = Counter()
    stop = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_send(url, per_second, ask, seen, stop)), name="traffic")
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


async def _send(
    url: str, per_second: float, ask: Callable[[int], Ask], seen: Counter[str], stop: threading.Event
) -> None:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    async with httpx.AsyncClient(base_url=url, limits=limits) as client:
        under_way: set[asyncio.Task[None]] = set()
        clock = asyncio.get_running_loop().time
        start_s = clock()
        for number in count():
            await asyncio.sleep(start_s + number / per_second - clock())
            if stop.is_set():
                break
            task = asyncio.create_task(_one(client, ask(number), seen))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


async def _one(client: httpx.AsyncClient, ask: Ask, seen: Counter[str]) -> None:
    headers = {"Content-Type": "image/png", **ask.headers}
    try:
        path = f"/v1/models/{ask.model}/detect"
        answer = await client.post(path, content=ask.image, headers=headers, params=ask.options, timeout=ask.patience_s)
        seen[str(answer.status_code)] += 1
    except httpx.TransportError:
        seen["left"] += 1

"""Waiting for what comes to pass in another thread or process: by looking, never by the clock."""

import asyncio
import time
from collections.abc import Callable

PATIENCE_S = 60.0
_LOOK_AGAIN_S = 0.02


def eventually(holds: Callable[[], bool]) -> None:
    """Look again and again, for a minute at most: a moment that was missed must end the test, not hang it."""
    give_up = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < give_up, "it never came to pass"
        time.sleep(_LOOK_AGAIN_S)


async def until(holds: Callable[[], bool]) -> None:
    """As eventually, while the event loop goes on."""
    give_up = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < give_up, "it never came to pass"
        await asyncio.sleep(_LOOK_AGAIN_S)

"""SIGTERM and SIGINT: the first asks the service to stop, the second to hurry."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any


class StopSignals:
    """Both signals as events, from construction on. Needs a running event loop."""

    def __init__(self) -> None:
        self.asked, self.hurried = asyncio.Event(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._received)

    def _received(self) -> None:
        (self.hurried if self.asked.is_set() else self.asked).set()

    async def unless_hurried(self, step: Coroutine[Any, Any, None], most_s: float | None = None) -> bool:
        """Run step to its end; False, and step is cancelled, if a second signal or most_s seconds come first."""
        running, hurrying = asyncio.ensure_future(step), asyncio.ensure_future(self.hurried.wait())
        await asyncio.wait({running, hurrying}, timeout=most_s, return_when=asyncio.FIRST_COMPLETED)
        finished = running.done()
        for task in (running, hurrying):
            task.cancel()
        await asyncio.gather(running, hurrying, return_exceptions=True)
        return finished

"""grpc.health.v1, whose watchers do not hold up a server that ends."""

import asyncio
from typing import Any

from grpc_health.v1 import health, health_pb2

_LAST_WORD_S = 0.2


class HealthServicer(health.aio.HealthServicer):  # type: ignore[misc]  # the package has no types
    """The reference implementation; its Watch alone never ends, and a server waits for its calls before it stops."""

    def __init__(self) -> None:
        super().__init__()
        self._over = asyncio.Event()

    def end_watches(self) -> None:
        """Watchers hear the state as it is now, and then the end of their stream."""
        self._over.set()

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:
        watching = asyncio.ensure_future(super().Watch(request, context))
        over = asyncio.ensure_future(self._over.wait())
        try:
            await asyncio.wait({watching, over}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({watching}, timeout=_LAST_WORD_S)
            if watching.done():
                watching.result()
        finally:
            watching.cancel()
            over.cancel()

"""A load balancer in the small, between a client and two replicas: as haproxy with redispatch and retry-on."""

import asyncio
import contextlib
import itertools
from collections.abc import Sequence


class Proxy:
    """Takes turns among backends; one that refuses, answers nothing or says 503 is passed over for the next."""

    def __init__(self, backends: Sequence[tuple[str, int]]) -> None:
        self._backends, self._turns = backends, itertools.count()
        self.retries = 0

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer, one connection."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            lines = [line for line in head[:-4].split(b"\r\n") if not line.lower().startswith(b"connection:")]
            sizes = [int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length:")]
            body = await reader.readexactly(sum(sizes))
            answer = await self._ask(b"\r\n".join([*lines, b"Connection: close", b"", b""]) + body)
            writer.write(answer)
            await writer.drain()
        writer.close()

    async def _ask(self, request: bytes) -> bytes:
        first = next(self._turns)
        answer = b""
        for attempt in range(2 * len(self._backends)):
            self.retries += attempt > 0
            host, port = self._backends[(first + attempt) % len(self._backends)]
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(host, port)
                try:
                    writer.write(request)
                    answer = await reader.read()
                finally:
                    writer.close()
            if answer and not answer.startswith(b"HTTP/1.1 503 "):
                return answer
        return answer

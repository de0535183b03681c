"""
HTTP/1.1 as cheap as it gets in Python: keep-alive connections over asyncio's protocols, parsed by httptools.

The driver shares its machine with what it measures, so every microsecond here is taken from the server. A request costs
a fraction of what a general HTTP client spends on it; `python -m loadtests.bench --part ceiling` measures both.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import httptools

IDLE_CONNECTION_S = 2.0
"""Idle connections are dropped sooner than common servers drop them (5 s), so that none is reused as it closes."""


class NoConnection(Exception):
    """Refused, or the name did not resolve."""


class ConnectionLost(Exception):
    """The server hung up, or spoke no HTTP, before the answer was whole."""


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer. Header names are in lower case. arrived_s: when its last byte had come, before it was parsed."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    arrived_s: float


@dataclass(frozen=True, slots=True)
class Trickle:
    """A caller on a bad line: the body leaves in `pieces` equal pieces, with `pause_s` before each but the first."""

    pieces: int
    pause_s: float


class Client:
    """
    Connections to one server: as many as there are requests at once (a limit would be a hidden queue).

    Use as an async context manager, inside which a running event loop is needed.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or "127.0.0.1"
        self._is_secure = parts.scheme == "https"
        self._port = parts.port or (443 if self._is_secure else 80)
        self._authority = f"{self._host}:{self._port}"
        self._idle: deque[tuple[_Connection, float]] = deque()

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        while self._idle:
            self._idle.pop()[0].abort()

    def head(self, method: str, path: str, headers: Iterable[tuple[str, str]], body_bytes: int) -> bytes:
        """A request up to its body. Worth making once where many requests are alike. A Host of the headers counts."""
        named = {"Host": self._authority, "Content-Length": str(body_bytes), **dict(headers)}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    async def send(
        self,
        head: bytes,
        body: bytes = b"",
        trickle: Trickle | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> Response:
        """
        One request and its whole answer, timed by now_s.

        Raises NoConnection or ConnectionLost; cancelling hangs up.
        """
        connection = self._idle_connection() or await self._connect()
        connection.now_s = now_s
        try:
            response = await (
                connection.ask(head + body) if trickle is None else connection.dribble(head, body, trickle)
            )
        except BaseException:
            connection.abort()
            raise
        if connection.is_reusable:
            self._idle.append((connection, time.monotonic()))
        else:
            connection.abort()
        return response

    def _idle_connection(self) -> "_Connection | None":
        oldest_s = time.monotonic() - IDLE_CONNECTION_S
        while self._idle:
            connection, idle_since_s = self._idle.pop()  # the one used last: the others may age and go
            if idle_since_s >= oldest_s and connection.is_reusable:
                return connection
            connection.abort()
        return None

    async def _connect(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        try:
            secure = True if self._is_secure else None
            _, connection = await loop.create_connection(_Connection, self._host, self._port, ssl=secure)
        except OSError as error:
            raise NoConnection(str(error)) from error
        return connection


class _Connection(asyncio.Protocol):
    """One connection, one request at a time. The parser calls the on_* methods."""

    def __init__(self) -> None:
        self.is_reusable = False
        self.now_s: Callable[[], float] = time.monotonic
        self._arrived_s = 0.0
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Response] | None = None

    async def ask(self, request: bytes) -> Response:
        self._begin().write(request)
        assert self._answer is not None
        return await self._answer

    async def dribble(self, head: bytes, body: bytes, trickle: Trickle) -> Response:
        transport = self._begin()
        assert self._answer is not None
        transport.write(head)
        piece_bytes = max(1, -(-len(body) // trickle.pieces))
        for start in range(0, len(body), piece_bytes):
            if start:
                await asyncio.wait({self._answer}, timeout=trickle.pause_s)
            if self._answer.done():  # a server that has heard enough may answer before the body is whole
                self.is_reusable = False
                break
            transport.write(body[start : start + piece_bytes])
        return await self._answer

    def abort(self) -> None:
        self.is_reusable = False
        if self._answer is not None:
            self._answer.cancel()
        if self._transport is not None:
            self._transport.abort()

    def _begin(self) -> asyncio.Transport:
        if self._transport is None or self._transport.is_closing():
            raise ConnectionLost("closed before the request was sent")
        self.is_reusable = False
        self._answer = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        return self._transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class is no subclass of asyncio's

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            self.abort()  # an answer nobody asked for
            return
        self._arrived_s = self.now_s()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(str(error))
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_reusable = False
        self._fail(str(exc or "the server hung up"))

    def _fail(self, reason: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionLost(reason))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200 or self._answer is None or self._answer.done():
            return
        self.is_reusable = self._parser.should_keep_alive()
        self._answer.set_result(Response(status, self._headers, b"".join(self._body), self._arrived_s))

"""
What a client can do to a connection before, after and beside its request, bounded in bytes and time.

uvicorn bounds neither the bytes nor the time of a request's head, and waits without end for a client that does not
read. Bodies are bounded where they are read (service.api.rest.bodies).
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.api.requests import request_id
from service.api.rest.errors import problem_content, problem_response

_LOOK_AGAIN_S = 0.1
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


@dataclass(frozen=True)
class ConnectionLimits:
    max_connections: int
    max_header_bytes: int
    header_timeout_s: float
    write_timeout_s: float  # how long a client may read nothing of its answer
    keep_alive_s: float  # how long a connection may rest between two requests
    linger_s: float  # how long a resting connection may still bring a request once the server wants to end


class RefusalObserver(Protocol):
    """Counts, by reason."""

    def shed(self, reason: str) -> None: ...
    def rejected(self, reason: str) -> None: ...
    def cancelled(self, stage: str) -> None: ...


class ConnectionGuard:
    """
    One server's limits and its connections that wait for a request: strangers, and those that have had an answer.

    Each kind may fill half of the room and no more where the other wants it: a flood of silent connections takes no
    kept one from a caller, and whoever keeps thousands keeps no newcomer out.
    """

    def __init__(self, limits: ConnectionLimits, observer: RefusalObserver) -> None:
        self.limits, self.observer = limits, observer
        self._strangers: dict[GuardedConnection, None] = {}  # those that wait the longest first, as below
        self._answered: dict[GuardedConnection, None] = {}

    def protocol(self, *args: Any, **kwargs: Any) -> "GuardedConnection":
        """What uvicorn makes for each connection."""
        return GuardedConnection(self, *args, **kwargs)

    def waits(self, connection: "GuardedConnection", *, answered: bool) -> None:
        """From now on connection may be closed to make room; it keeps its turn if it waits already."""
        if connection not in self._strangers:
            (self._answered if answered else self._strangers)[connection] = None

    def asks(self, connection: "GuardedConnection") -> None:
        """A request is under way on connection, or it is gone."""
        self._strangers.pop(connection, None)
        self._answered.pop(connection, None)

    def first_to_go(self) -> "GuardedConnection | None":
        """The one that waits the longest among strangers, or among the answered where these have over their half."""
        too_many = len(self._answered) > self.limits.max_connections // 2
        kinds = (self._answered, self._strangers) if too_many else (self._strangers, self._answered)
        return next((connection for kind in kinds for connection in kind), None)


class GuardedConnection(HttpToolsProtocol):
    """A connection that is closed once it keeps the server waiting for too much or too long."""

    def __init__(self, guard: ConnectionGuard, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._guard, self._limits, self._served = guard, guard.limits, self.app
        self._head_begun, self._head_bytes = False, 0
        self._answered = self._leaving = False
        self._timer: asyncio.TimerHandle | None = None  # runs while the client owes us bytes
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._owed()
        if len(self.connections) > self._limits.max_connections:
            self.loop.call_later(_LOOK_AGAIN_S, self._make_room)

    def _make_room(self) -> None:
        """Close idle ones. A moment later than they came: a request may lie in a socket, unread."""
        while len(self.connections) > self._limits.max_connections and (idle := self._guard.first_to_go()):
            idle._paid()
            self.connections.discard(idle)
            self._guard.observer.shed("connections")
            idle.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._paid()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_begun:
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.max_header_bytes:
                self._refuse(_TOO_LARGE, "header_too_large")
        elif self.cycle is None or (self.cycle.response_complete and self.cycle.more_body):
            self._owed()  # the rest of a body nobody wants any more, or bytes before a request

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_begun, self._head_bytes = True, 0
        self._owed()

    def on_headers_complete(self) -> None:
        self._paid()
        self._head_begun = False
        head_bytes = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        too_large = head_bytes > self._limits.max_header_bytes
        self.app = self._header_too_large if too_large else self._served
        super().on_headers_complete()
        if self._leaving:
            self.cycle.keep_alive = False

    def on_response_complete(self) -> None:
        # The rest of a body that the answer did not wait for is owed: no rest between requests.
        limits = self._limits
        self.timeout_keep_alive = limits.header_timeout_s if self.cycle.more_body else limits.keep_alive_s  # type: ignore[assignment]  # uvicorn takes any number of seconds
        super().on_response_complete()
        self._answered = True
        if not self.pipeline and not self.transport.is_closing():
            self._guard.waits(self, answered=True)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self.cycle.response_complete:
            self.cycle.more_body = False
            self._paid()
            self._rest()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(self._limits.write_timeout_s, self._reads_nothing)

    def resume_writing(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
        super().resume_writing()

    def _owed(self) -> None:
        """The client's turn: a time limit runs from now, unless it runs already."""
        if self._timer is None:
            self._guard.waits(self, answered=self._answered)
            self._timer = self.loop.call_later(self._limits.header_timeout_s, self._keeps_us_waiting)

    def _paid(self) -> None:
        self._guard.asks(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _rest(self) -> None:
        """Between two requests, as uvicorn has it after an answer."""
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self._limits.keep_alive_s, self.timeout_keep_alive_handler)

    def shutdown(self) -> None:
        """
        The server wants to end: one more request is answered, with Connection: close, before the connection goes.

        A client that sends just as an idle connection is closed cannot know whether it was heard.
        """
        self._leaving = True
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(self._limits.linger_s, super().shutdown)
        else:
            super().shutdown()

    def timeout_keep_alive_handler(self) -> None:
        """After a moment in which the server itself stood still, bytes may have come that nobody has read yet."""
        self.timeout_keep_alive_task = self.loop.call_later(_LOOK_AGAIN_S, super().timeout_keep_alive_handler)

    def _keeps_us_waiting(self) -> None:
        self._timer = self.loop.call_later(_LOOK_AGAIN_S, self._has_kept_us_waiting)

    def _has_kept_us_waiting(self) -> None:
        self._refuse(_TOO_SLOW if self._head_begun else b"", "header_too_slow")

    def _refuse(self, answer: bytes, reason: str) -> None:
        self._paid()
        if not self.transport.is_closing():
            self._guard.observer.rejected(reason)
            self.transport.write(answer)
            self.transport.close()

    def _reads_nothing(self) -> None:
        self._guard.observer.cancelled("answer")
        self.transport.abort()

    async def _header_too_large(self, scope: Scope, receive: Receive, send: Send) -> None:
        reason, most = "header_too_large", self._limits.max_header_bytes
        self._guard.observer.rejected(reason)
        detail = f"The request's line and headers are too long; at most {most} bytes are accepted."
        content = problem_content(431, reason, "Request header too large", detail, request_id(None))
        await problem_response(content, {"Connection": "close"})(scope, receive, send)

"""
One kept HTTP connection to a candidate, for the thread that asks it.

Plain http.client, off the event loop: for a question of 150 kB httpx takes 2.7 ms of processor time of the loop, which
the answers of clients would wait for; this takes 0.5 ms, in a thread.
"""

import http.client
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

_CONNECT_TIMEOUT_S = 2.0
_IDLE_S = 5.0


@dataclass(frozen=True)
class Reply:
    """What came back, unread."""

    status: int
    release: str  # X-Release; empty: it said none
    body: bytes


class Line:
    """Used by one thread, but `cut` and `end` by any."""

    def __init__(
        self, url: str, timeout_s: float, trusted: ssl.SSLContext | None = None, idle_s: float = _IDLE_S
    ) -> None:
        """
        timeout_s: the longest silence. trusted: whose certificates are believed; None: certifi's authorities.

        idle_s: after that long without a question the connection is made anew: behind one address another release may
        answer by then, which whoever keeps to the pod it once met never sees.
        """
        self._timeout_s, self._idle_s, self._last_s, self._is_cut = timeout_s, idle_s, 0.0, False
        self._is_over = False
        self._socket: socket.socket | None = None
        address = urlsplit(url)
        host, port = address.hostname or "", address.port
        self._connection = (
            http.client.HTTPSConnection(host, port, context=trusted or _public())
            if address.scheme == "https"
            else http.client.HTTPConnection(host, port)
        )

    def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """
        Asked once more where a kept connection ends: it may be closed just as the question leaves.

        Raises OSError (TimeoutError after timeout_s of silence, ssl.SSLError) or http.client.HTTPException.
        """
        if time.monotonic() - self._last_s > self._idle_s:
            self._connection.close()
        is_kept, self._is_cut = self._connection.sock is not None, False
        try:
            return self._exchange(path, headers, body)
        except (ConnectionError, http.client.BadStatusLine):
            if self._is_cut or self._is_over or not is_kept:
                raise
            return self._exchange(path, headers, body)
        finally:
            self._last_s = time.monotonic()

    def _exchange(self, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        try:
            if self._connection.sock is None:
                self._connect()
            self._connection.request("POST", path, body, dict(headers))
            response = self._connection.getresponse()
            return Reply(response.status, response.headers.get("X-Release", ""), response.read())
        except BaseException:
            self._connection.close()
            raise

    def _connect(self) -> None:
        """Nothing can cut what is not yet connected: it has to end soon by itself."""
        self._connection.timeout = min(self._timeout_s, _CONNECT_TIMEOUT_S)
        self._connection.connect()
        self._socket = self._connection.sock  # http.client forgets it where the answer's end is that of the connection
        self._socket.settimeout(self._timeout_s)
        if self._is_cut or self._is_over:
            raise ConnectionAbortedError("cut")

    def cut(self) -> None:
        """End what `post` waits for, with an OSError there; a connection that is being made, within two seconds."""
        self._is_cut = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """Cut, and whatever is asked from now on too: a question may be on its way into the thread."""
        self._is_over = True
        self.cut()

    def close(self) -> None:
        self._connection.close()


def _public() -> ssl.SSLContext:
    import httpx

    return httpx.create_ssl_context()

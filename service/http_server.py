"""An HTTP port: uvicorn on a socket of ours. Knows no route."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import uvicorn


class HttpServer(uvicorn.Server):
    """uvicorn on a socket bound at once, so that a taken port is known before models load; signals stay ours."""

    def __init__(
        self,
        app: Any,
        host: str,
        port: int,
        drain_timeout_s: float,
        protocol: Any = "auto",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # asyncio sets TCP_NODELAY only where the socket names TCP; without it, answers wait for a delayed ACK.
        self._socket = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
        except OSError as error:
            raise OSError(f"cannot listen for HTTP on {host}:{port}: {error.strerror}") from error
        self.port: int = self._socket.getsockname()[1]
        self.finished = asyncio.Event()
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol,
                ssl_context_factory=(lambda config, default: tls) if tls else None,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=int(drain_timeout_s) + 1,
            )
        )

    async def serve_on_socket(self) -> None:
        try:
            await self.serve(sockets=[self._socket])
        finally:
            self.finished.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

"""What the composition root sees to itself."""

import asyncio
import socket

from service.http_server import HttpServer


async def _app(scope: object, receive: object, send: object) -> None: ...


async def test_answers_are_not_held_back_on_kept_connections() -> None:
    """TCP_NODELAY is set: otherwise an answer in two writes waits 40 ms for the client's delayed ACK."""
    server = HttpServer(_app, "127.0.0.1", 0, 1)
    serving = asyncio.create_task(server.serve_on_socket())
    while not server.started:
        await asyncio.sleep(0.01)
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    while not server.server_state.connections:
        await asyncio.sleep(0.01)
    (connection,) = server.server_state.connections
    accepted = connection.transport.get_extra_info("socket")
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    writer.close()
    server.should_exit = True
    await serving

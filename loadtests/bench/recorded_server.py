"""
An HTTP server that asks another one each new question, and from then on answers it from memory, as late as the other.

It stands for one that works on another machine: after the first time, its answers cost this machine next to nothing.
Run as `python -m loadtests.bench.recorded_server http://127.0.0.1:PORT`. Prints its own port.
"""

import asyncio
import http.client
import sys
import time
import zlib
from dataclasses import dataclass
from urllib.parse import urlsplit

import httptools
import uvloop


@dataclass(frozen=True, slots=True)
class Recorded:
    """An answer, and how long it took."""

    raw: bytes
    took_s: float


class Recorder:
    """Answers by (path, checksum of the body)."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._known: dict[tuple[bytes, int], Recorded] = {}

    async def answer(self, path: bytes, body: bytes) -> bytes:
        question = path, zlib.crc32(body)
        known = self._known.get(question)
        if known is None:
            self._known[question] = known = await asyncio.to_thread(self._ask, path, body)
        else:
            await asyncio.sleep(known.took_s)
        return known.raw

    def _ask(self, path: bytes, body: bytes) -> Recorded:
        asked_s = time.perf_counter()
        connection = http.client.HTTPConnection(self._host, self._port)
        connection.request("POST", path.decode(), body, {"Content-Type": "application/octet-stream"})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        head = f"HTTP/1.1 {response.status} Recorded\r\nContent-Type: application/json\r\n"
        raw = f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content
        return Recorded(raw, time.perf_counter() - asked_s)


class Connection(asyncio.Protocol):
    """One caller, who waits for each answer before asking again."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder, self._tasks = recorder, set[asyncio.Task[None]]()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)

    def on_message_begin(self) -> None:
        self._path, self._body = b"", bytearray()

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_body(self, piece: bytes) -> None:
        self._body += piece

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        task = asyncio.create_task(self._say(self._path, bytes(self._body)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _say(self, path: bytes, body: bytes) -> None:
        self._transport.write(await self._recorder.answer(path, body))  # type: ignore[attr-defined]  # a stream's can


async def serve(url: str) -> None:
    address = urlsplit(url)
    recorder = Recorder(address.hostname or "", address.port or 80)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(recorder), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))

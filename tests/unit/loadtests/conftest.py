"""A real HTTP server on loopback, and a few small images to send to it."""

import io
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from tests.ports import nobody

Serve = Callable[[ASGIApp], str]
Endpoint = Callable[[Request], Awaitable[Response]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """serve(app) -> the address at which the app answers until the test ends."""
    with ExitStack() as running:
        yield lambda app: running.enter_context(_serving(app))


@pytest.fixture
def refusing_url() -> Iterator[str]:
    """An address that refuses connections."""
    with nobody() as url:
        yield url


@pytest.fixture
def picture_folder(tmp_path: Path) -> Path:
    """Three images of different sizes: 8x6, 10x4 and 5x7."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, size_wh in (("a.png", (8, 6)), ("b.jpg", (10, 4)), ("c.png", (5, 7))):
        Image.new("RGB", size_wh, "white").save(folder / name)
    return folder


@contextmanager
def _serving(app: ASGIApp) -> Iterator[str]:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(64)  # from here on callers can connect, so that nobody has to wait for the server to start
    server = uvicorn.Server(
        uvicorn.Config(app, lifespan="off", ws="none", log_config=None, access_log=False, timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


async def _answer_well(request: Request) -> Response:
    """The answer the contract promises, about the image that was sent."""
    with Image.open(io.BytesIO(await request.body())) as image:
        width, height = image.size
    return JSONResponse(
        {
            "model": {"name": "m", "version": "1", "digest": "d"},
            "image": {"width": width, "height": height},
            "detections": [],
            "timings_ms": {"queue": 2.0, "detector": 40.0},
            "request_id": "r-1",
        },
        headers={"X-Request-Id": "r-1"},
    )


async def _ready(_: Request) -> Response:
    return PlainTextResponse("ready")


@pytest.fixture
def answer_well() -> Endpoint:
    """The service's endpoint at its best, for tests that put something in front of it."""
    return _answer_well


@pytest.fixture
def service() -> Callable[..., Starlette]:
    """service(detect=endpoint, exposition=text) -> an app with the service's addresses, answering well by default."""

    def build(detect: Endpoint = _answer_well, exposition: str = "") -> Starlette:
        async def metrics(_: Request) -> Response:
            return PlainTextResponse(exposition)

        return Starlette(
            routes=[
                Route("/v1/detect", detect, methods=["POST"]),
                Route("/v1/models/{name}/detect", detect, methods=["POST"]),
                Route("/readyz", _ready),
                Route("/metrics", metrics),
            ]
        )

    return build

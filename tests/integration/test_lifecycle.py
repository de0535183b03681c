"""From the command to the exit code."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from service.bundle import Bundle
from tests.conftest import encode_picture, run_server
from tests.hanging import hanging
from tests.patience import eventually

FAKE = {"RCNN_ENGINE": "fake"}


def rcnn(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "service.cli", *arguments],
        capture_output=True, text=True, env=os.environ | environment, timeout=120,
    )  # fmt: skip


def test_sigterm_finishes_what_was_accepted_and_exits_zero(toy_bundle: Bundle, tmp_path: Path) -> None:
    """Requests inside when the signal comes are answered; the process then ends by itself with 0."""
    fault = tmp_path / "fault"
    environment = FAKE | {"RCNN_BUNDLES": str(toy_bundle.root), "RCNN_FAKE_ENGINE_FAULT_FILE": str(fault)}
    patience = {"RCNN_DEFAULT_TIMEOUT_MS": "60000", "RCNN_DRAIN_TIMEOUT_S": "60"}
    with run_server(environment | patience) as server, ThreadPoolExecutor(6) as clients:

        def ask() -> int:
            url = f"{server.http_url}/v1/detect"
            return httpx.post(url, content=encode_picture(64, 64), timeout=60).status_code

        with hanging(fault):
            asked = [clients.submit(ask) for _ in range(6)]
            eventually(lambda: "rcnn_in_flight_requests 6.0" in httpx.get(f"{server.metrics_url}/metrics").text)
            server.process.send_signal(signal.SIGTERM)
            eventually(lambda: try_ready(server.http_url) == "refused")
        assert [one.result() for one in asked] == [200] * 6
        assert server.process.wait(30) == 0


def test_a_body_on_its_way_is_accepted_work(toy_bundle: Bundle) -> None:
    """Half a picture has come when the signal does; the other half is still read, and the picture answered."""
    picture = encode_picture(64, 64)
    head = f"POST /v1/detect HTTP/1.1\r\nHost: me\r\nContent-Length: {len(picture)}\r\n\r\n".encode()
    with run_server(FAKE | {"RCNN_BUNDLES": str(toy_bundle.root)}) as server:
        address = urlsplit(server.http_url)
        with socket.create_connection((address.hostname, address.port), timeout=20) as client:
            client.sendall(head + picture[:50])
            eventually(lambda: "rcnn_body_memory_bytes 0.0" not in httpx.get(f"{server.metrics_url}/metrics").text)
            server.process.send_signal(signal.SIGTERM)
            eventually(lambda: try_ready(server.http_url) == "refused")
            client.sendall(picture[50:])
            assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")
        assert server.process.wait(30) == 0


def test_a_kept_connection_brings_one_more_request(toy_bundle: Bundle) -> None:
    """A proxy that has not heard yet asks as before; the answer ends the connection, and then the process ends."""
    environment = FAKE | {"RCNN_BUNDLES": str(toy_bundle.root), "RCNN_DRAIN_LINGER_S": "20"}
    with run_server(environment) as server, httpx.Client(base_url=server.http_url) as proxy:
        assert "connection" not in proxy.get("/readyz").headers
        with httpx.Client(base_url=server.http_url) as another:
            assert another.get("/readyz").status_code == 200
            server.process.send_signal(signal.SIGTERM)
            eventually(lambda: try_ready(server.http_url) == "refused")
            assert another.get("/readyz").status_code == 503
        answer = proxy.post("/v1/detect", content=encode_picture(64, 64))
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert server.process.wait(15) == 0


def try_ready(url: str) -> str:
    """refused once the service takes no connections."""
    try:
        return str(httpx.get(f"{url}/readyz").status_code)
    except httpx.TransportError:
        return "refused"


def test_a_missing_bundle_is_one_clear_line(tmp_path: Path) -> None:
    """Exit 1, the folder and what was expected in it, no traceback."""
    ports = {f"RCNN_{door}_PORT": "0" for door in ("HTTP", "GRPC", "METRICS")}
    ended = rcnn("serve", RCNN_BUNDLES=str(tmp_path), RCNN_HOST="127.0.0.1", **ports)
    assert ended.returncode == 1
    assert f"rcnn: {tmp_path} holds no manifest.json" in ended.stderr and "Traceback" not in ended.stderr


def test_a_taken_port_is_one_clear_line(toy_bundle: Bundle) -> None:
    """Exit 1, with the port, before any model is loaded."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = rcnn("serve", "--host", "127.0.0.1", "--http-port", port, RCNN_BUNDLES=str(toy_bundle.root), **FAKE)
    assert ended.returncode == 1
    assert f"127.0.0.1:{port}" in ended.stderr and "Traceback" not in ended.stderr


def test_a_bad_setting_is_a_usage_error() -> None:
    """Exit 2, with the setting's name and what it got."""
    ended = rcnn("serve", "--max-in-flight", "none")
    assert ended.returncode == 2
    assert "max_in_flight" in ended.stderr and "'none'" in ended.stderr


def test_help_explains_every_setting() -> None:
    """A flag for each, with its sentence."""
    ended = rcnn("serve", "--help", COLUMNS="200")
    assert ended.returncode == 0
    assert "--max-batch-megapixels" in ended.stdout and "short no is kinder" in ended.stdout


def test_detect_prints_a_line_an_image_and_fails_if_one_failed(toy_bundle: Bundle, tmp_path: Path) -> None:
    """In this process: a good image, a text file named .jpg; exit 1 with a summary."""
    good, bad = tmp_path / "good.png", tmp_path / "bad.jpg"
    good.write_bytes(encode_picture(64, 64))
    bad.write_bytes(b"hello")
    environment = FAKE | {"RCNN_BUNDLES": str(toy_bundle.root)}
    ended = rcnn("detect", str(good), str(bad), "--json", **environment)
    assert ended.returncode == 1
    assert json.loads(ended.stdout)["detections"][0]["label"] == "thing"
    assert "bad.jpg: The content is not an accepted image format" in ended.stderr and "1 of 2" in ended.stderr


def test_detect_asks_a_running_service(toy_bundle: Bundle, tmp_path: Path) -> None:
    """The same command against --url."""
    image = tmp_path / "image.png"
    image.write_bytes(encode_picture(64, 64))
    with run_server(FAKE | {"RCNN_BUNDLES": str(toy_bundle.root)}) as server:
        ended = rcnn("detect", str(image), "--url", server.http_url)
        refused = rcnn("detect", str(image), "--url", server.http_url, "--model", "none")
    assert ended.returncode == 0 and "1 thing (toy 1" in ended.stdout
    assert refused.returncode == 1 and "No model none is served here" in refused.stderr


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        pytest.param("http://127.0.0.1:1", 1, "image.png: ", id="nobody there"),
        pytest.param("http://127.0.0.1:x", 2, "http://127.0.0.1:x", id="not an address"),
    ],
)
def test_detect_says_when_there_is_no_service(tmp_path: Path, url: str, code: int, words: str) -> None:
    """Exit 1 where nobody answers, 2 where nobody can; a line, no traceback."""
    image = tmp_path / "image.png"
    image.write_bytes(encode_picture(9, 9))
    ended = rcnn("detect", str(image), "--url", url, COLUMNS="200")
    assert ended.returncode == code
    assert words in ended.stderr and "Traceback" not in ended.stderr


@pytest.mark.alone
@pytest.mark.parametrize("concurrency", [16])
def test_mixed_sizes_share_batches_without_an_error(toy_bundle: Bundle, concurrency: int) -> None:
    """200 requests of mixed sizes, 16 at a time, a fake engine of 20 ms: no error, mean batch above 2."""

    async def load(url: str) -> list[int]:
        free = asyncio.Semaphore(concurrency)
        pictures = [encode_picture(60 + 8 * (i % 5), 40 + 16 * (i % 7)) for i in range(200)]
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:

            async def ask(picture: bytes) -> int:
                async with free:
                    return (await client.post("/v1/detect", content=picture)).status_code

            return await asyncio.gather(*map(ask, pictures))

    with run_server(FAKE | {"RCNN_BUNDLES": str(toy_bundle.root)}) as server:
        assert asyncio.run(load(server.http_url)) == [200] * 200
        metrics = httpx.get(f"{server.metrics_url}/metrics").text.splitlines()
    value = {line.split("{")[0]: float(line.split()[-1]) for line in metrics if line.startswith("rcnn_batch_size_")}
    assert value["rcnn_batch_size_sum"] / value["rcnn_batch_size_count"] > 2

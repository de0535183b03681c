"""The candidate that stands for one elsewhere: it asks once, and then knows."""

import http.server
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from loadtests.serving import serving_recorded

TAKES_S = 0.2


class Origin(http.server.BaseHTTPRequestHandler):
    """Says in some time how often it was asked, and what."""

    asked = 0

    def do_POST(self) -> None:
        type(self).asked += 1
        time.sleep(TAKES_S)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = f"{self.path} {body.decode()} {self.asked}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def origin() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Origin) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_each_question_is_asked_once_and_answered_as_late_as_then(origin: str) -> None:
    """Another path or another body is another question."""
    with serving_recorded(origin) as url, httpx.Client(base_url=url) as client:

        def say(path: str, body: str) -> tuple[str, float]:
            asked_s = time.perf_counter()
            return client.post(path, content=body).text, time.perf_counter() - asked_s

        assert [say("/a", "one")[0] for _ in range(3)] == ["/a one 1"] * 3
        assert say("/b", "one")[0] == "/b one 2"
        assert say("/a", "two")[0] == "/a two 3"
        answer, took_s = say("/a", "two")
        assert answer == "/a two 3" and took_s >= TAKES_S
    assert Origin.asked == 3

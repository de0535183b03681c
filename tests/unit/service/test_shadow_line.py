"""The connection to a candidate: kept while it is used, made anew afterwards, and never waited for in vain."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from service.shadow_line import Line, Reply

ANSWER = b"HTTP/1.1 200 OK\r\nX-Release: v2\r\nContent-Length: 2\r\n\r\n{}"
SILENCE = b""


class Candidate:
    """Answers every question with the same bytes, and knows which connection each came by."""

    def __init__(self, answer: bytes) -> None:
        self.asked_by: list[int] = []
        self._answer, self._connections = answer, list[socket.socket]()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with self._server, suppress(OSError):  # shut down at the end
            while True:
                connection, _ = self._server.accept()
                self._connections.append(connection)
                self._threads.append(threading.Thread(target=self._talk, args=(connection, len(self._connections))))
                self._threads[-1].start()

    def _talk(self, connection: socket.socket, number: int) -> None:
        with connection, suppress(OSError):  # who asked may be gone, and the test over
            while connection.recv(65536):
                self.asked_by.append(number)
                connection.sendall(self._answer)

    def close(self) -> None:
        """Nothing of it outlives its test, neither threads nor sockets."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()


@pytest.fixture
def candidate(request: pytest.FixtureRequest) -> Iterator[Candidate]:
    found = Candidate(getattr(request, "param", ANSWER))
    yield found
    found.close()


def test_questions_in_a_row_share_a_connection(candidate: Candidate) -> None:
    line = Line(candidate.url, timeout_s=5)
    assert [line.post("/detect", {}, b"") for _ in range(3)] == [Reply(200, "v2", b"{}")] * 3
    assert candidate.asked_by == [1, 1, 1]
    line.close()


def test_after_a_rest_the_connection_is_made_anew(candidate: Candidate) -> None:
    """A Service of Kubernetes picks a pod for each connection: who keeps one never meets the next release."""
    line = Line(candidate.url, timeout_s=5, idle_s=0.05)
    line.post("/detect", {}, b"")
    time.sleep(0.1)
    line.post("/detect", {}, b"")
    assert candidate.asked_by == [1, 2]
    line.close()


def test_after_its_end_a_line_asks_nobody(candidate: Candidate) -> None:
    """Neither by the connection it had nor by a new one."""
    line = Line(candidate.url, timeout_s=600)
    line.post("/detect", {}, b"")
    line.end()
    for _ in range(2):
        with pytest.raises(OSError):
            line.post("/detect", {}, b"")
    assert candidate.asked_by == [1]
    line.close()


@pytest.mark.parametrize("candidate", [SILENCE], indirect=True)
def test_who_waits_can_be_cut_off(candidate: Candidate) -> None:
    """Long before the line's own patience ends, and without asking again."""
    line = Line(candidate.url, timeout_s=600)
    cutting = threading.Timer(0.2, line.cut)
    cutting.start()
    with pytest.raises(OSError):
        line.post("/detect", {}, b"")
    cutting.join()
    assert candidate.asked_by == [1]
    line.close()

"""The judge's door, when callers do as they please."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from deploy.judge.prometheus import Prometheus
from deploy.judge.server import create_server
from deploy.judge.shadow_gate import Policy

HOOK = b"POST /flagger/rollback HTTP/1.1\r\nHost: judge\r\n"


@contextmanager
def judge() -> Iterator[tuple[str, int]]:
    """Its address. When it is left, the threads of all callers have ended."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # a Prometheus that takes its time
        prometheus = Prometheus(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.5)
        server = create_server("127.0.0.1", 0, prometheus, Policy(), "", 60)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield ("127.0.0.1", server.server_address[1])
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


@pytest.mark.parametrize(
    "sent, is_reset",
    [
        (b"GET /verdict?candidate=v2 HTTP/1.1\r\nHost: judge\r\n\r\n", True),
        (b"GET /metrics HTTP/1.1\r\nHost: judge\r\n\r\n", True),
        (b"GET /metrics HTTP/1.1\r\nHost: jud", True),
        (HOOK + b"Content-Length: 40\r\n\r\n{", True),
        (HOOK + b"Content-Length: 40\r\n\r\n{", False),
        (HOOK + b"Content-Length: many\r\n\r\n", False),
        (HOOK + b"Content-Length: -1\r\n\r\n", False),
    ],
)
def test_a_caller_that_hangs_up_is_nothing_to_log_and_the_next_one_is_answered(
    capfd: pytest.CaptureFixture[str], sent: bytes, is_reset: bool
) -> None:
    with judge() as address:
        with socket.create_connection(address) as caller:
            if is_reset:
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            caller.sendall(sent)
        answer = httpx.get(f"http://127.0.0.1:{address[1]}/verdict", params={"candidate": "v2"}, timeout=30)
        assert answer.json()["decision"] == "undecided"
    assert capfd.readouterr().err == ""

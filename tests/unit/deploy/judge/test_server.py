"""The judge's door, when callers do as they please."""

import socket
import struct
import threading

import httpx
import pytest

from deploy.judge.prometheus import Prometheus
from deploy.judge.server import create_server
from deploy.judge.shadow_gate import Policy


def test_a_caller_that_hangs_up_is_nothing_to_log_and_the_next_one_is_answered(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # a Prometheus that takes its time
        prometheus = Prometheus(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.5)
        server = create_server("127.0.0.1", 0, prometheus, Policy(), "", 60)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = ("127.0.0.1", server.server_address[1])
        try:
            with socket.create_connection(address) as caller:
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closed by a reset
                caller.sendall(b"GET /verdict?candidate=v2 HTTP/1.1\r\nHost: judge\r\n\r\n")
            answer = httpx.get(f"http://127.0.0.1:{address[1]}/verdict", params={"candidate": "v2"}, timeout=30)
            assert answer.json()["decision"] == "undecided"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()  # waits for the threads of all callers
    assert "Traceback" not in capfd.readouterr().err

"""A candidate asked beside the stable model: real servers on loopback, and clients who must not notice."""

import http.server
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from service.bundle import Bundle
from service.security.api_keys import entry_of, new_key
from tests.api.test_tls import Authority
from tests.conftest import Served, encode_picture, run_server
from tests.patience import eventually
from tests.ports import nobody

IMAGE = encode_picture(100, 60)


def counted(server: Served, family: str, **labels: str) -> float:
    """The sum of a family's samples that carry these labels."""
    total = 0.0
    for line in httpx.get(f"{server.metrics_url}/metrics").text.splitlines():
        if re.match(rf"{family}(\{{|\s)", line) and all(f'{k}="{v}"' in line for k, v in labels.items()):
            total += float(line.rsplit(" ", 1)[1])
    return total


@contextmanager
def stable(bundle: Bundle, shadow_url: str, **settings: str) -> Iterator[Served]:
    environment = {"RCNN_ENGINE": "fake", "RCNN_BUNDLES": str(bundle.root), "RCNN_FAKE_ENGINE_DELAY_MS": "1"}
    shadow = {"RCNN_SHADOW_URL": shadow_url, "RCNN_SHADOW_SHARE": "1", "RCNN_SHADOW_CANDIDATE": "v2"}
    with run_server({**environment, **shadow, **{f"RCNN_{k.upper()}": v for k, v in settings.items()}}) as server:
        yield server


def head_on(connection: socket.socket) -> bytes:
    """What comes until a request's head is whole, or the connection ends."""
    received = b""
    while b"\r\n\r\n" not in received and (piece := connection.recv(65536)):
        received += piece
    return received


@contextmanager
def listening(answers: bool) -> Iterator[tuple[str, list[bytes]]]:
    """A server that keeps what it is sent; it says nothing, or that it is broken."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                kept.append(connection)
                with suppress(OSError):  # who asked may be gone
                    heard.append(head_on(connection))
                    if answers:
                        connection.sendall(b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                        connection.shutdown(socket.SHUT_RDWR)

        kept: list[socket.socket] = []
        thread = threading.Thread(target=accept)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", heard
        server.shutdown(socket.SHUT_RDWR)
    thread.join()
    for connection in kept:
        connection.close()


@contextmanager
def dribbling() -> Iterator[str]:
    """A server whose answer has no end: a byte every tenth of a second."""
    is_over = threading.Event()

    class Dribble(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                while not is_over.wait(0.1):
                    self.wfile.write(b" ")

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Dribble) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        is_over.set()
        server.shutdown()


def ask(server: Served, times: int = 1, **options: str) -> list[httpx.Response]:
    secret = {"Authorization": "Bearer secret-of-the-client", "Cookie": "session=secret-of-the-client"}
    with httpx.Client(timeout=30) as client:
        return [
            client.post(f"{server.http_url}/v1/detect", params=options, content=IMAGE, headers=secret)
            for _ in range(times)
        ]


def test_a_candidate_that_sees_the_same_agrees_on_every_image(toy_bundle: Bundle, fake_served: Served) -> None:
    with stable(toy_bundle, fake_served.http_url) as server:
        assert {answer.status_code for answer in ask(server, 6, masks="rle", score_threshold="0.2")} == {200}
        pairs = {"model": "toy", "candidate": "v2"}
        eventually(lambda: counted(server, "rcnn_shadow_pairs_total", **pairs) == 6)
        assert counted(server, "rcnn_shadow_pairs_total", **pairs, outcome="agree") == 6
        assert counted(server, "rcnn_shadow_objects_total", **pairs, outcome="agree") > 0
        assert counted(server, "rcnn_shadow_disagreement_ratio_bucket", **pairs, le="0.0") == 6
        assert counted(server, "rcnn_shadow_slowdown_ratio_count", **pairs) == 6
        objects = counted(server, "rcnn_shadow_objects_total", **pairs)
        for by in ("class", "size"):
            assert counted(server, f"rcnn_shadow_{by}_objects_total", **pairs, outcome="agree") == objects
        for side in ("stable", "candidate"):
            assert counted(server, "rcnn_shadow_work_seconds_count", **pairs, side=side) == 6
        for same in ("box_iou", "mask_iou"):
            assert counted(server, f"rcnn_shadow_{same}_ratio_sum", **pairs) == objects
        assert counted(server, "rcnn_shadow_score_change_ratio_count", **pairs) == objects


def test_only_the_stated_share_is_asked(toy_bundle: Bundle, fake_served: Served) -> None:
    with stable(toy_bundle, fake_served.http_url, shadow_share="0") as server:
        ask(server, 5)
        assert counted(server, "rcnn_shadow_pairs_total") == counted(server, "rcnn_shadow_dropped_total") == 0


def test_clients_notice_nothing_of_a_candidate_that_is_down(toy_bundle: Bundle) -> None:
    with nobody() as url, stable(toy_bundle, url) as server:
        assert {answer.status_code for answer in ask(server, 5)} == {200}
        eventually(lambda: counted(server, "rcnn_shadow_pairs_total", outcome="candidate_error") == 5)


def test_clients_notice_nothing_of_a_candidate_that_hangs_and_what_cannot_wait_is_dropped(toy_bundle: Bundle) -> None:
    room = {"shadow_timeout_ms": "600000", "shadow_queue_mb": str(4 * len(IMAGE) / 1e6)}
    with listening(answers=False) as (url, _), stable(toy_bundle, url, **room) as server:
        assert {answer.status_code for answer in ask(server, 10)} == {200}
        assert counted(server, "rcnn_shadow_dropped_total", reason="queue_full") == 6
        assert counted(server, "rcnn_requests_total", outcome="ok") == 10


def test_a_candidate_that_takes_too_long_has_failed(toy_bundle: Bundle) -> None:
    with listening(answers=False) as (url, _), stable(toy_bundle, url, shadow_timeout_ms="50") as server:
        ask(server, 2)
        eventually(lambda: counted(server, "rcnn_shadow_pairs_total", outcome="candidate_error") == 2)


def test_a_candidate_that_dribbles_is_held_to_the_whole_time(toy_bundle: Bundle) -> None:
    """Each byte comes in time, the answer never."""
    with dribbling() as url, stable(toy_bundle, url, shadow_timeout_ms="500") as server:
        ask(server, 2)
        eventually(lambda: counted(server, "rcnn_shadow_pairs_total", outcome="candidate_error") == 2)


def test_no_credentials_reach_the_candidate_and_all_options_do(toy_bundle: Bundle) -> None:
    with listening(answers=True) as (url, heard), stable(toy_bundle, url) as server:
        ask(server, 1, classes="thing", nms="soft_linear", class_agnostic="true", class_score_thresholds="other:0.4")
        eventually(lambda: counted(server, "rcnn_shadow_pairs_total", outcome="candidate_error") == 1)
    (request,) = heard
    line = request.split(b"\r\n")[0].decode()
    assert b"secret-of-the-client" not in request
    assert "/v1/models/toy/detect?" in line
    for option in ("classes=thing", "nms=soft_linear", "class_agnostic=true", "class_score_thresholds=other%3A0.4"):
        assert option in line
    assert "score_threshold=" not in line.replace("class_score_thresholds", "")


def named(bundle: Bundle, release: str) -> dict[str, str]:
    return {"RCNN_ENGINE": "fake", "RCNN_BUNDLES": str(bundle.root), "RCNN_RELEASE": release}


def test_a_candidate_that_says_its_release_is_counted_under_it(toy_bundle: Bundle) -> None:
    with run_server(named(toy_bundle, "v7")) as candidate, stable(toy_bundle, candidate.http_url) as server:
        assert httpx.get(f"{candidate.http_url}/v1/nothing").headers["X-Release"] == "v7"
        (answer,) = ask(server)
        assert "X-Release" not in answer.headers
        eventually(lambda: counted(server, "rcnn_shadow_pairs_total", candidate="v7") == 1)


@contextmanager
def closing_when_asked_again(candidate: Served) -> Iterator[str]:
    """Passes on the first question of each connection and closes it at the second, like one kept too long."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        asked = 0

        def do_POST(self) -> None:
            self.asked += 1
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.asked > 1:
                self.close_connection = True
                return
            answer = httpx.post(f"{candidate.http_url}{self.path}", content=body)
            self.send_response(answer.status_code)
            self.send_header("X-Release", answer.headers["X-Release"])
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_kept_connection_that_ends_between_two_questions_is_no_failure(toy_bundle: Bundle) -> None:
    """The candidate closes what was idle for some seconds, perhaps as the next question leaves."""
    with run_server(named(toy_bundle, "v7")) as candidate, closing_when_asked_again(candidate) as url:
        with stable(toy_bundle, url) as server:
            for pairs in (1, 2, 3):
                ask(server)
                eventually(lambda pairs=pairs: counted(server, "rcnn_shadow_pairs_total") == pairs)
            assert counted(server, "rcnn_shadow_pairs_total", outcome="agree") == 3


def test_a_release_that_meets_itself_counts_no_pairs_and_asks_no_more_for_a_while(toy_bundle: Bundle) -> None:
    with run_server(named(toy_bundle, "v7")) as twin, stable(toy_bundle, twin.http_url, release="v7") as server:
        ask(server)
        eventually(lambda: counted(server, "rcnn_shadow_dropped_total", reason="same_release") == 1)
        ask(server, 5)
        assert counted(twin, "rcnn_requests_total") == 1
        assert counted(server, "rcnn_shadow_pairs_total") == 0


@pytest.fixture(scope="module")
def guarded(toy_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Path, Path]]:
    """A candidate that speaks TLS and asks for a key; the key in a file, and the authority of its certificate."""
    folder = tmp_path_factory.mktemp("guarded")
    authority = Authority(folder / "ca", "ours")
    certificate, private = authority.sign("candidate")
    key, digest = new_key("shadow")
    (folder / "key").write_text(f"{key}\n")
    (folder / "keys.toml").write_text(entry_of("shadow", digest, ["detect"]))
    tls = {"RCNN_TLS_CERTIFICATE": str(certificate), "RCNN_TLS_KEY": str(private)}
    with run_server({**named(toy_bundle, "v8"), **tls, "RCNN_API_KEYS": str(folder / "keys.toml")}) as candidate:
        yield candidate, folder / "key", authority.pem


def test_a_candidate_behind_a_key_and_tls_is_asked_with_a_key_of_stable_s_own(
    toy_bundle: Bundle, guarded: tuple[Served, Path, Path]
) -> None:
    candidate, key, authority = guarded
    with stable(toy_bundle, https(candidate), shadow_key=str(key), shadow_ca=str(authority)) as server:
        assert {answer.status_code for answer in ask(server, 3)} == {200}
        eventually(lambda: counted(server, "rcnn_shadow_pairs_total", candidate="v8", outcome="agree") == 3)


@pytest.mark.parametrize("shown", ["absent", "wrong", "untrusted"])
def test_a_candidate_that_lets_nobody_in_is_not_held_to_have_failed(
    toy_bundle: Bundle, guarded: tuple[Served, Path, Path], tmp_path: Path, shown: str
) -> None:
    """The key is at fault, or the authority: no pair tells anything, and dropped ones say why."""
    candidate, _, authority = guarded
    if shown != "absent":
        (tmp_path / "key").write_text("shadow.of-another-day")
    if shown == "untrusted":
        authority = Authority(tmp_path / "ca", "another").pem
    with stable(toy_bundle, https(candidate), shadow_key=str(tmp_path / "key"), shadow_ca=str(authority)) as server:
        ask(server, 2)
        eventually(lambda: counted(server, "rcnn_shadow_dropped_total", reason="not_let_in") == 2)
        assert counted(server, "rcnn_shadow_pairs_total") == 0


def https(served: Served) -> str:
    return served.http_url.replace("http://", "https://")

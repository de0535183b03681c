"""The driver against a real server on loopback."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp

from loadtests.driver import Order, Target, drive_closed, drive_open
from loadtests.pictures import Picture, deal, read_pictures
from loadtests.samples import Sample
from loadtests.wire import Client, Trickle

Serve = Callable[[ASGIApp], str]
Endpoint = Callable[[Request], Awaitable[Response]]
Service = Callable[..., Starlette]


class LateClock:
    """A client that the machine wakes `late_s` after the moment it asked for; otherwise time stands still."""

    def __init__(self, late_s: float) -> None:
        self._late_s = late_s
        self._now_s = 0.0

    def now_s(self) -> float:
        return self._now_s

    async def sleep_until(self, moment_s: float) -> None:
        self._now_s = moment_s + self._late_s


@pytest.fixture
def pictures(picture_folder: Path) -> list[Picture]:
    return read_pictures(picture_folder)


def send_open(target: Target, pictures: list[Picture], count: int = 1) -> list[Sample]:
    return asyncio.run(drive_open([Order(picture, target) for picture in deal(pictures, count, seed=0)]))


def meeting_of(party: int, answer: Endpoint) -> Endpoint:
    """An endpoint that answers nobody until `party` requests are waiting inside it."""
    arrived: list[Request] = []
    complete = asyncio.Event()

    async def detect(request: Request) -> Response:
        await request.body()
        arrived.append(request)
        if len(arrived) == party:
            complete.set()
        await complete.wait()
        return await answer(request)

    return detect


def test_latency_counts_from_the_moment_a_request_was_due(
    serve: Serve, service: Service, pictures: list[Picture]
) -> None:
    """A client woken 3 s late reports 3 s of latency although the answer came at once: waiting is not hidden."""
    target = Target(serve(service()), timeout_s=60.0)
    (sample,) = asyncio.run(drive_open([Order(pictures[0], target, due_s=5.0)], clock=LateClock(3.0)))
    assert (sample.due_s, sample.sent_s) == (5.0, 8.0)
    assert sample.latency_ms == pytest.approx(3000.0)
    assert sample.lag_ms == pytest.approx(3000.0)


def test_an_answer_has_come_with_its_last_byte_and_before_it_is_parsed() -> None:
    """By the clock of the caller, which is looked at as often as bytes come, and not again."""
    moments_s = count(1.0)

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nan", b"sw"):
            writer.write(piece)
            await asyncio.sleep(0.05)
        writer.close()
        await writer.wait_closed()

    async def ask() -> float:
        server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
        async with server, Client(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as client:
            answer = await client.send(client.head("GET", "/", (), 0), now_s=lambda: next(moments_s))
            await asyncio.sleep(0.1)  # the server's side is closed too
            return answer.arrived_s

    assert asyncio.run(ask()) == 2.0


def test_open_loop_waits_for_no_answer(
    serve: Serve, service: Service, answer_well: Endpoint, pictures: list[Picture]
) -> None:
    """A server that answers nobody until all 24 are inside would starve a driver that waits or caps its connections."""
    target = Target(serve(service(detect=meeting_of(24, answer_well))))
    assert [sample.outcome for sample in send_open(target, pictures, 24)] == ["200"] * 24


def test_closed_loop_keeps_exactly_its_concurrency(
    serve: Serve, service: Service, answer_well: Endpoint, pictures: list[Picture]
) -> None:
    """Of 20 requests at concurrency 4, four are inside at once, never five, and all are answered."""
    inside: set[Request] = set()
    most_inside = 0
    meet = meeting_of(4, answer_well)

    async def detect(request: Request) -> Response:
        nonlocal most_inside
        inside.add(request)
        most_inside = max(most_inside, len(inside))
        try:
            return await meet(request)
        finally:
            inside.remove(request)

    target = Target(serve(service(detect=detect)))
    samples = asyncio.run(
        drive_closed([Order(picture, target) for picture in deal(pictures, 20, seed=0)], concurrency=4)
    )
    assert [sample.outcome for sample in samples] == ["200"] * 20
    assert most_inside == 4


def test_an_overloaded_server_is_reported_with_its_retry_after(
    serve: Serve, service: Service, pictures: list[Picture]
) -> None:
    """A 429 is a refusal and not a success, and what it told the caller is kept."""

    async def refuse(_: Request) -> Response:
        return JSONResponse(
            {"code": "overloaded"}, status_code=429, headers={"Retry-After": "7", "X-Request-Id": "r-9"}
        )

    (sample,) = send_open(Target(serve(service(detect=refuse))), pictures)
    assert (sample.outcome, sample.is_ok, sample.is_refusal) == ("429", False, True)
    assert (sample.reply.retry_after_s, sample.reply.request_id) == (7.0, "r-9")


def test_a_refused_connection_is_reported(refusing_url: str, pictures: list[Picture]) -> None:
    """Every request of the schedule is still sent and accounted for."""
    assert [s.outcome for s in send_open(Target(refusing_url), pictures, 3)] == ["no connection"] * 3


def test_a_caller_out_of_patience_is_reported(serve: Serve, service: Service, pictures: list[Picture]) -> None:
    """Patience counts from the moment the request was due: a client 3 s late with 2 s of patience has none left."""
    target = Target(serve(service()), timeout_s=2.0)
    (sample,) = asyncio.run(drive_open([Order(pictures[0], target)], clock=LateClock(3.0)))
    assert sample.outcome == "timeout"


def test_a_connection_lost_half_way_is_reported(pictures: list[Picture]) -> None:
    """A server that hangs up without an answer is told apart from one that was never there."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async def drive() -> list[Sample]:
        async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            return await drive_open([Order(pictures[0], Target(f"http://127.0.0.1:{port}"))])

    assert [sample.outcome for sample in asyncio.run(drive())] == ["connection lost"]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("<html>", id="not JSON"),
        pytest.param("[]", id="not an object"),
        pytest.param('{"image": {"width": 8, "height": 6}, "timings_ms": {}}', id="no detections"),
        pytest.param(
            '{"image": {"width": 8, "height": 6}, "detections": [], "timings_ms": {"q": "x"}}', id="bad timing"
        ),
    ],
)
def test_a_200_that_breaks_the_contract_is_no_success(
    body: str, serve: Serve, service: Service, pictures: list[Picture]
) -> None:
    """A status alone proves nothing."""

    async def detect(_: Request) -> Response:
        return PlainTextResponse(body)

    (sample,) = send_open(Target(serve(service(detect=detect))), pictures[:1])
    assert (sample.outcome, sample.is_ok) == ("malformed answer", False)


def test_an_answer_about_another_image_is_no_success(serve: Serve, service: Service, pictures: list[Picture]) -> None:
    """Mixing up two callers of one batch must not pass for a correct answer."""

    async def detect(_: Request) -> Response:
        return JSONResponse({"image": {"width": 999, "height": 6}, "detections": [], "timings_ms": {}})

    (sample,) = send_open(Target(serve(service(detect=detect))), pictures[:1])
    assert (sample.outcome, sample.is_ok) == ("wrong image", False)


def test_a_good_answer_keeps_the_services_account_of_its_time(
    serve: Serve, service: Service, pictures: list[Picture]
) -> None:
    """Stage timings and the request id come from the answer."""
    (sample,) = send_open(Target(serve(service())), pictures)
    assert sample.is_ok
    assert sample.reply.timings_ms == {"queue": 2.0, "detector": 40.0}
    assert sample.reply.request_id == "r-1"


def test_requests_ask_for_what_the_target_says(
    serve: Serve, service: Service, answer_well: Endpoint, pictures: list[Picture]
) -> None:
    """Model, options, deadline, type and bytes reach the server as given; repeated options stay repeated."""
    seen: list[tuple[str, str, str | None, str | None, bytes]] = []

    async def detect(request: Request) -> Response:
        headers = request.headers
        seen.append(
            (
                request.url.path,
                request.url.query,
                headers.get("x-request-timeout-ms"),
                headers.get("content-type"),
                await request.body(),
            )
        )
        return await answer_well(request)

    options = (("masks", "rle"), ("classes", "cat"), ("classes", "dog"))
    target = Target(serve(service(detect=detect)) + "/", model="cells", options=options, deadline_ms=250)
    asyncio.run(drive_open([Order(pictures[1], target)]))
    query = "masks=rle&classes=cat&classes=dog"
    assert seen == [("/v1/models/cells/detect", query, "250", "image/jpeg", pictures[1].body)]


def test_progress_hears_of_every_request(refusing_url: str, pictures: list[Picture]) -> None:
    """A progress bar reaches its end whatever becomes of the requests."""
    heard: list[Sample] = []
    orders = [Order(picture, Target(refusing_url)) for picture in pictures]
    samples = asyncio.run(drive_open(orders, on_done=heard.append))
    assert sorted(s.picture for s in heard) == sorted(s.picture for s in samples)


def test_equal_answers_have_equal_digests(serve: Serve, service: Service, pictures: list[Picture]) -> None:
    """A run can tell whether a picture was answered the same each time, to the last digit."""

    async def detect(request: Request) -> Response:
        found = [{"label": "cell", "score": len(await request.body()) / 1e4}]
        return JSONResponse({"image": {"width": 8, "height": 6}, "detections": found, "timings_ms": {}})

    first, again = send_open(Target(serve(service(detect=detect))), pictures[:1], 2)
    assert first.reply.detections_digest is not None
    assert first.reply.detections_digest == again.reply.detections_digest


def test_a_slow_caller_sends_its_body_in_pieces(
    serve: Serve, service: Service, answer_well: Endpoint, pictures: list[Picture]
) -> None:
    """The server sees the body arrive bit by bit, whole in the end; a quick caller's comes at once."""
    seen: list[int] = []

    async def detect(request: Request) -> Response:
        pieces = [piece async for piece in request.stream() if piece]
        seen.append(len(pieces))
        request._body = b"".join(pieces)
        return await answer_well(request)

    url = serve(service(detect=detect))
    (slow,) = send_open(Target(url, trickle=Trickle(pieces=5, pause_s=0.1)), pictures[:1])
    (quick,) = send_open(Target(url), pictures[:1])
    assert (slow.is_ok, quick.is_ok) == (True, True)
    assert seen[0] > 1 and seen[1] == 1


def test_a_server_may_answer_a_slow_caller_before_it_has_finished(
    serve: Serve, service: Service, pictures: list[Picture]
) -> None:
    """A refusal that comes while the body is still leaving ends the wait at once."""

    async def refuse(_: Request) -> Response:
        return JSONResponse({}, status_code=408, headers={"Connection": "close"})

    target = Target(serve(service(detect=refuse)), trickle=Trickle(pieces=50, pause_s=60.0))
    assert [sample.outcome for sample in send_open(target, pictures[:1])] == ["408"]


def test_connections_are_kept_and_used_again(pictures: list[Picture]) -> None:
    """Ten callers in turn are one connection: opening one costs more than asking."""
    connections, closed = 0, asyncio.Event()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):  # the client has gone
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()
        closed.set()

    async def drive() -> list[Sample]:
        server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        samples = await drive_closed([Order(pictures[0], Target(url))] * 10, concurrency=1)
        await closed.wait()
        server.close()
        return samples

    assert [sample.outcome for sample in asyncio.run(drive())] == ["204"] * 10
    assert connections == 1


def test_traffic_without_an_end_stops_when_its_maker_does(
    serve: Serve, service: Service, answer_well: Endpoint, pictures: list[Picture]
) -> None:
    answered = 0

    async def detect(request: Request) -> Response:
        nonlocal answered
        answered += 1
        return await answer_well(request)

    target = Target(serve(service(detect=detect)))

    def endless() -> Iterator[Order]:
        due_s = 0.0
        while not answered:
            yield Order(pictures[0], target, due_s := due_s + 0.05)

    samples = asyncio.run(drive_open(endless()))
    assert samples and all(sample.is_ok for sample in samples)


def test_a_host_of_the_headers_takes_the_place_of_the_address_and_the_release_is_read(
    serve: Serve, service: Service, answer_well: Endpoint, pictures: list[Picture]
) -> None:
    async def detect(request: Request) -> Response:
        response = await answer_well(request)
        response.headers["X-Release"] = request.headers["host"]
        return response

    target = Target(serve(service(detect=detect)), headers=[("Host", "v2.example")])
    (sample,) = send_open(target, pictures)
    assert sample.reply.release == "v2.example"

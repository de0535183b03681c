"""All results or the first error, and nothing of a failed request that only the garbage collector would find."""

import asyncio
import gc
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.requests import Request
from starlette.types import Message

from service.api.requests import Accounting
from service.api.rest.early import EarlyRefusal
from service.api.rest.routes import unless_caller_leaves
from service.batching import Batcher, Budget
from service.detections import ModelId
from service.errors import CallerLeft, DeadlineExceeded, EngineFailed, Overloaded, ServiceError, UndecodableImage
from service.gathering import all_of
from service.metrics import Metrics
from service.tracing import Tracer


class Image:
    """Stands for the megabytes of a request; unlike bytes it can be watched."""


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Only what nothing refers to is freed."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def fails(image: Image, wait_s: float = 0.0) -> int:
    await asyncio.sleep(wait_s)
    raise UndecodableImage(f"{image.__class__.__name__} is broken.")


async def number(value: int) -> int:
    await asyncio.sleep(0)
    return value


async def error_of(answering: Awaitable[object], kind: type[ServiceError]) -> None:
    """Meets the error as a door does: caught, rendered, gone."""
    try:
        await answering
    except kind as error:
        assert str(error)
    else:
        pytest.fail(f"no {kind.__name__}")


@pytest.mark.parametrize("count", [1, 3])
async def test_results_come_in_the_order_of_the_calls(count: int) -> None:
    assert await all_of([number(value) for value in range(count)]) == list(range(count))


async def test_the_first_error_is_raised_and_the_others_end() -> None:
    others: list[str] = []

    async def other() -> int:
        try:
            return await asyncio.sleep(60, 0)
        finally:
            others.append("ended")

    with pytest.raises(UndecodableImage, match="is broken"):
        await all_of([other(), fails(Image(), 0.01), other()])
    assert others == ["ended", "ended"]


@pytest.mark.parametrize("failing", [1, 2], ids=["alone", "with others"])
async def test_a_failed_call_leaves_nothing_behind(failing: int, no_collector: None) -> None:
    images = [Image() for _ in range(failing)]
    watched = [weakref.ref(image) for image in images]
    calls = [fails(image) for image in images]
    del images
    await error_of(all_of(calls), UndecodableImage)
    del calls
    await asyncio.sleep(0)  # what was cancelled ends in the loop's next turn
    assert [ref() for ref in watched] == [None] * failing


async def test_a_request_that_failed_while_its_caller_waited_leaves_nothing_behind(no_collector: None) -> None:
    image = Image()
    watched = weakref.ref(image)

    async def receive() -> Message:
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    request = Request({"type": "http"}, receive)
    await error_of(unless_caller_leaves(request, fails(image)), UndecodableImage)
    del image
    await asyncio.sleep(0)
    assert watched() is None


def broken(batch: Sequence[Image]) -> list[int]:
    raise EngineFailed(f"The engine failed on {len(batch)}.")


def slow(batch: Sequence[Image]) -> list[int]:
    time.sleep(0.2)
    return [0] * len(batch)


@pytest.mark.parametrize(
    ("run", "timeout_s", "kind"), [(broken, 60.0, EngineFailed), (slow, 0.05, DeadlineExceeded)], ids=["failed", "late"]
)
async def test_an_image_that_the_batcher_gave_up_leaves_nothing_behind(
    run: Callable[[Sequence[Image]], list[int]], timeout_s: float, kind: type[ServiceError], no_collector: None
) -> None:
    class Deaf:
        def cancelled(self, stage: str) -> None: ...
        def ran(self, batch: Sequence[object], results: Sequence[object]) -> None: ...

    async def ask(image: Image) -> None:
        with batcher.admit(time.monotonic() + timeout_s) as ticket:
            await batcher.submit(ticket, image, "canvas", 1)

    image = Image()
    watched = weakref.ref(image)
    with ThreadPoolExecutor(1) as threads:
        batcher = Batcher[Image, int](run, threads, Budget(8, 1000), Deaf())
        batcher.start()
        await error_of(ask(image), kind)
        del image
        await batcher.close()
    for _ in range(3):  # turns of the loop: what is told of a batch comes after its answers
        await asyncio.sleep(0)
    assert watched() is None


async def test_a_refusal_before_the_body_leaves_nothing_behind(no_collector: None) -> None:
    """Two of three requests under an overload: their circles were most of what the collector had to do."""
    refusals: list[weakref.ref[Overloaded]] = []

    class Full:
        is_idle = False

        def check_capacity(self, *_: object, high: bool) -> None:
            refusal = Overloaded("64 requests are inside, the most allowed.", 1.0, "in_flight")
            refusals.append(weakref.ref(refusal))
            raise refusal

        def accepting_model(self, *_: object) -> ModelId:
            return ModelId("nuclei", "1", "sha256:0")

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("the body was read")

    sent: list[Message] = []
    door = EarlyRefusal(None, Full(), Accounting(Metrics(), Tracer()))  # type: ignore[arg-type]
    scope = {"type": "http", "method": "POST", "path": "/v1/detect", "query_string": b"", "headers": []}
    await door(scope, receive, send)
    assert sent[0]["status"] == 429
    assert [ref() for ref in refusals] == [None]


def request_that_ends(hung_up: asyncio.Event) -> Request:
    async def receive() -> Message:
        await hung_up.wait()
        return {"type": "http.disconnect"}

    return Request({"type": "http"}, receive)


async def test_a_caller_who_hangs_up_as_the_answer_comes_disturbs_nobody() -> None:
    """Both in one turn of the loop: answered, and nothing is left to be logged as an error."""
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    hung_up = asyncio.Event()

    async def answer() -> int:
        await hung_up.wait()
        return 7

    asked = asyncio.create_task(unless_caller_leaves(request_that_ends(hung_up), answer()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    hung_up.set()
    assert await asked == 7
    for _ in range(3):
        await asyncio.sleep(0)
    assert not errors


async def test_a_caller_who_hangs_up_first_gets_no_answer() -> None:
    """What was under way is cancelled."""
    hung_up, ended = asyncio.Event(), asyncio.Event()

    async def answer() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    asked = asyncio.create_task(unless_caller_leaves(request_that_ends(hung_up), answer()))
    await asyncio.sleep(0)
    hung_up.set()
    with pytest.raises(CallerLeft):
        await asked
    assert ended.is_set()


async def test_a_time_out_of_the_answer_s_own_is_not_the_caller_s_doing() -> None:
    async def answer() -> None:
        raise TimeoutError("a disk")

    with pytest.raises(TimeoutError, match="a disk"):
        await unless_caller_leaves(request_that_ends(asyncio.Event()), answer())

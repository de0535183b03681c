"""Answers kept for the same question."""

import asyncio
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.detections import Detections, DetectOptions, PngMask, PolygonMask, RawMask, RleMask
from service.response_cache import ResponseCache, cache_key, size_bytes


class Counts:
    """Hears what the cache says of itself."""

    def __init__(self) -> None:
        self.hits = self.misses = self.entries = self.used_bytes = 0

    def cache_hit(self) -> None:
        self.hits += 1

    def cache_missed(self) -> None:
        self.misses += 1

    def cache_changed(self, entries: int, used_bytes: int) -> None:
        self.entries, self.used_bytes = entries, used_bytes


def detections(count: int, score: float = 0.5) -> Detections:
    return Detections(
        image_hw=(10, 10),
        boxes_xyxy=np.zeros((count, 4), np.float32),
        scores=np.full(count, score, np.float32),
        label_ids=np.ones(count, np.int64),
        labels=("thing",) * count,
    )


async def ask(cache: ResponseCache, key: bytes, answer: Detections) -> tuple[Detections, bool]:
    """As the predictor does: look, else compute and share."""

    async def compute() -> Detections:
        return answer

    kept = cache.get(key)
    return (kept, True) if kept is not None else await cache.share(key, compute)


QUESTIONS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 60)), max_size=60)


@settings(deadline=None)
@given(QUESTIONS, st.integers(1, 12_000))
async def test_every_answer_is_that_of_its_own_question_and_the_bound_holds(
    questions: list[tuple[int, int]], max_bytes: int
) -> None:
    """Against a plain model of a least-recently-used store: the same hits, the same bytes, never above the bound."""
    counts = Counts()
    cache = ResponseCache(max_bytes, counts)
    model: OrderedDict[bytes, Detections] = OrderedDict()
    hits = 0
    for number, (name, size) in enumerate(questions):
        key, fresh = bytes([name]), detections(size, score=number)
        answer, is_hit = await ask(cache, key, fresh)
        assert is_hit == (key in model)
        if is_hit:
            hits += 1
            model.move_to_end(key)
            assert answer is model[key]
        else:
            assert answer is fresh
            if size_bytes(fresh) <= max_bytes:
                model[key] = fresh
            while sum(map(size_bytes, model.values())) > max_bytes:
                model.popitem(last=False)
        assert counts.used_bytes <= max_bytes
    assert (counts.hits, counts.misses) == (hits, len(questions) - hits)
    assert (counts.entries, counts.used_bytes) == (len(model), sum(map(size_bytes, model.values())))


@settings(deadline=None)
@given(
    st.binary(max_size=20),
    st.binary(max_size=20),
    st.sampled_from([0.1, 0.2, None]),
    st.sampled_from([0.1, 0.2, None]),
    st.sampled_from("ab"),
    st.sampled_from("ab"),
)
def test_keys_are_equal_exactly_where_questions_are(
    one: bytes, other: bytes, threshold: float | None, other_threshold: float | None, model: str, other_model: str
) -> None:
    """Another byte, another option or another model is another question."""
    first = cache_key(one, DetectOptions(score_threshold=threshold), model)
    second = cache_key(other, DetectOptions(score_threshold=other_threshold), other_model)
    assert (first == second) == ((one, threshold, model) == (other, other_threshold, other_model))


def test_those_who_ask_the_same_at_the_same_time_wait_for_one() -> None:
    """Eight callers, one computation, one miss; all get the same answer, and it is kept."""
    counts, answer = Counts(), detections(3)
    cache = ResponseCache(10_000, counts)
    computed = 0

    async def compute() -> Detections:
        nonlocal computed
        computed += 1
        await asyncio.sleep(0)
        return answer

    async def all_at_once() -> list[tuple[Detections, bool]]:
        return await asyncio.gather(*(cache.share(b"k", compute) for _ in range(8)))

    answers = asyncio.run(all_at_once())
    assert all(got is answer for got, _ in answers) and sorted(shared for _, shared in answers) == [False] + [True] * 7
    assert (computed, counts.misses, counts.hits, cache.get(b"k")) == (1, 1, 7, answer)


def test_an_answer_too_large_to_keep_is_still_shared() -> None:
    """Those who wait must not queue up one behind the other for something that is never kept."""
    cache = ResponseCache(10, Counts())
    computed = 0

    async def compute() -> Detections:
        nonlocal computed
        computed += 1
        await asyncio.sleep(0)
        return detections(100)

    async def all_at_once() -> None:
        await asyncio.gather(*(cache.share(b"k", compute) for _ in range(5)))

    asyncio.run(all_at_once())
    assert computed == 1 and cache.get(b"k") is None


@pytest.mark.parametrize("ending", ["fails", "leaves"])
def test_when_the_one_who_computes_fails_or_leaves_the_others_do_not(ending: str) -> None:
    """A caller's broken deadline is that caller's alone: the others get an answer, and nothing stays behind."""
    answer, cache = detections(2), ResponseCache(10_000, Counts())
    begun = asyncio.Event()

    async def never() -> Detections:
        begun.set()
        await asyncio.sleep(0 if ending == "fails" else 60)
        raise ValueError("mine alone")

    async def compute() -> Detections:
        await asyncio.sleep(0)
        return answer

    async def scenario() -> list[Detections]:
        leader = asyncio.create_task(cache.share(b"k", never))
        await begun.wait()
        others = [asyncio.create_task(cache.share(b"k", compute)) for _ in range(3)]
        await asyncio.sleep(0)
        if ending == "leaves":
            leader.cancel()
        with pytest.raises(ValueError if ending == "fails" else asyncio.CancelledError):
            await leader
        return [(await other)[0] for other in others]

    assert asyncio.run(scenario()) == [answer] * 3
    assert cache.get(b"k") is answer and not cache._running


def test_one_who_waits_may_leave_without_ending_it_for_the_others() -> None:
    """Cancelling a follower cancels neither the computation nor the other followers."""
    answer, cache = detections(2), ResponseCache(10_000, Counts())

    async def compute() -> Detections:
        await asyncio.sleep(0.01)
        return answer

    async def scenario() -> list[Detections]:
        asking = [asyncio.create_task(cache.share(b"k", compute)) for _ in range(3)]
        await asyncio.sleep(0)
        asking[1].cancel()
        return [(await asking[0])[0], (await asking[2])[0]]

    assert asyncio.run(scenario()) == [answer, answer]


async def test_a_cache_that_is_off_keeps_and_shares_nothing() -> None:
    """The default: equal images are all looked at, and nothing is counted."""
    counts = Counts()
    cache = ResponseCache(0, counts)
    first, second = detections(1), detections(1)
    assert (await ask(cache, b"k", first))[0] is first
    assert (await ask(cache, b"k", second))[0] is second
    assert (counts.hits, counts.misses, counts.entries) == (0, 0, 0)


@pytest.mark.parametrize(
    ("mask", "least_bytes"),
    [
        (RleMask((10, 10), "a" * 500), 500),
        (PolygonMask(((1.5,) * 100,)), 100 * 32),
        (PngMask((0, 0), b"a" * 500), 500),
        (RawMask((28, 28), b"a" * 784), 784),
    ],
    ids=["rle", "polygon", "png", "raw"],
)
def test_masks_are_part_of_what_an_entry_takes(
    mask: RleMask | PolygonMask | PngMask | RawMask, least_bytes: int
) -> None:
    """A bound that forgot the largest part would be none."""
    bare = detections(2)
    assert size_bytes(replace(bare, masks=(mask, mask))) - size_bytes(bare) >= 2 * least_bytes

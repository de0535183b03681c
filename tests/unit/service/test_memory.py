"""Bytes held by all requests together."""

import threading

import pytest

from service.errors import ImageTooLarge, Overloaded
from service.images import Limits, decode
from service.memory import BodyMemory, DecodeMemory
from tests.conftest import encode_picture


def test_whoever_would_exceed_the_budget_is_refused_and_holds_nothing() -> None:
    """60 of 100 bytes are held; 50 more are refused, 40 are not; everything is given back."""
    held: list[int] = []
    memory = BodyMemory(100, held.append)
    with memory.share() as first:
        first.add(60)
        with memory.share() as second:
            with pytest.raises(Overloaded, match="60 bytes"):
                second.add(50)
            second.add(40)
            assert held[-1] == 100
    assert held[-1] == 0


def test_a_picture_waits_until_another_is_decoded() -> None:
    """Two of 60 bytes do not fit into 100: the second starts when the first is done."""
    memory, order = DecodeMemory(100), []

    def second() -> None:
        started.set()
        with memory.room(60):
            order.append("second")

    started = threading.Event()
    with memory.room(60):
        thread = threading.Thread(target=second)
        thread.start()
        started.wait()
        thread.join(0.05)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_picture_that_could_never_be_decoded_is_refused_by_its_header() -> None:
    """Its pixels are within the limit, the memory for them is not; one that fits is read, and gives its room back."""
    limits = Limits(10**6, 10**6, memory=DecodeMemory(500_000))
    with pytest.raises(ImageTooLarge, match="to decode"):
        decode(encode_picture(300, 300), limits)
    for _ in range(3):
        assert decode(encode_picture(200, 200), limits).shape == (200, 200, 3)

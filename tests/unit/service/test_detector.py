"""A batch reaches the engine as one array, in order, and a lone image as it is."""

import numpy as np
import pytest
from numpy.typing import NDArray

from service.detections import NmsOptions
from service.detector import Work, detect_batch, gather
from service.engine.fake import FakeEngine

NMS = NmsOptions(0.0, 0.5, "hard", False, 10, None)


def work(brightness: int) -> Work:
    return Work(np.full((32, 48, 3), brightness, np.uint8), (32, 48), NMS, wants_masks=False)


def canvases(*works: Work) -> NDArray[np.uint8]:
    return gather(works).canvases


def test_a_batch_is_gathered_in_order() -> None:
    works = [work(brightness) for brightness in (10, 20, 30)]
    np.testing.assert_array_equal(canvases(*works), np.stack([one.canvas for one in works]))


def test_a_lone_image_is_not_copied() -> None:
    """The one who waits alone would wait for the copy."""
    alone = work(10)
    assert canvases(alone).shape == (1, 32, 48, 3)
    assert np.shares_memory(canvases(alone), alone.canvas)


def test_a_batch_is_a_copy_that_may_be_written() -> None:
    """Some runtimes warn of an array that is read only; the callers' canvases stay as they are."""
    works = [work(10), work(20)]
    batch = canvases(*works)
    batch[:] = 0
    assert [int(one.canvas[0, 0, 0]) for one in works] == [10, 20]


def test_canvases_of_two_shapes_are_no_batch() -> None:
    """Not even where they hold as many pixels: one would be read in the other's rows."""
    lying, standing = work(10), Work(np.zeros((48, 32, 3), np.uint8), (48, 32), NMS, wants_masks=False)
    with pytest.raises(ValueError, match="differ in shape"):
        gather([lying, standing])


def test_what_is_found_does_not_depend_on_company() -> None:
    works, engine = [work(brightness) for brightness in (0, 100, 200)], FakeEngine(0.0)
    together = detect_batch(engine, works)
    for one, found in zip(works, together, strict=True):
        (alone,) = detect_batch(engine, [one])
        np.testing.assert_array_equal(found.picked.scores, alone.picked.scores)
        np.testing.assert_array_equal(found.picked.boxes_xyxy, alone.picked.boxes_xyxy)

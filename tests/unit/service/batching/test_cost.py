"""What a batch will cost, learned from those that ran."""

import random

import pytest

from service.batching.cost import CostModel, Size


def taught(fixed_s: float, image_s: float, *, noise: float = 0.0, mask_s: float = 0.0, batches: int = 200) -> CostModel:
    chance, cost = random.Random(0), CostModel()
    for _ in range(batches):
        images = chance.randint(1, 8)
        masked = chance.randint(0, images) if mask_s else 0
        seconds = fixed_s + image_s * images + mask_s * masked
        cost.learn(Size("a", 100, images, masked), seconds * (1 + noise * chance.uniform(-1, 1)))
    return cost


def test_before_the_first_batch_nothing_is_known() -> None:
    """Zero seconds, and any number of images is worth a try."""
    assert CostModel().predict_s(Size("a", 100, 5)) == 0.0
    assert CostModel().good_images(Size("a", 100, 5)) == 5


@pytest.mark.parametrize("images", [1, 3, 8])
def test_fixed_and_per_image_seconds_are_found_through_noise(images: int) -> None:
    """Batches of 10 ms + 5 ms an image, each 20 % off at most: predicted within 10 %."""
    cost = taught(0.010, 0.005, noise=0.2)
    assert cost.predict_s(Size("a", 100, images)) == pytest.approx(0.010 + 0.005 * images, rel=0.1)


def test_masks_are_told_apart() -> None:
    """Each image that wants masks adds 8 ms, whatever the batch size."""
    cost = taught(0.010, 0.005, mask_s=0.008)
    extra_s = cost.predict_s(Size("a", 100, 4, masked=4)) - cost.predict_s(Size("a", 100, 4))
    assert extra_s == pytest.approx(4 * 0.008, rel=0.1)


def test_one_wild_batch_changes_little() -> None:
    """A batch a hundred times too slow moves the prediction by less than half, and is forgotten soon."""
    cost, size = taught(0.010, 0.005, noise=0.1), Size("a", 100, 4)
    cost.learn(size, 3.0)
    assert cost.predict_s(size) < 0.045
    for _ in range(20):
        cost.learn(size, 0.030)
    assert cost.predict_s(size) == pytest.approx(0.030, rel=0.1)


def test_a_lasting_change_is_followed() -> None:
    """An engine that becomes four times slower is known as such after some fifty batches."""
    chance, cost = random.Random(1), taught(0.010, 0.005, noise=0.1)
    for _ in range(50):
        images = chance.randint(1, 8)
        cost.learn(Size("a", 100, images), 4 * (0.010 + 0.005 * images))
    assert cost.predict_s(Size("a", 100, 4)) == pytest.approx(0.12, rel=0.15)


def test_a_canvas_never_seen_borrows_by_its_pixels() -> None:
    """Twice the pixels: the same for the batch, twice for each image."""
    cost = taught(0.010, 0.005)
    assert cost.predict_s(Size("b", 200, 3)) == pytest.approx(0.010 + 3 * 0.010, rel=0.05)


@pytest.mark.parametrize(
    ("fixed_s", "image_s", "good"),
    [
        pytest.param(0.020, 0.0, 8, id="all fixed: as many as can be"),
        pytest.param(0.0, 0.020, 1, id="nothing fixed: batching does not pay"),
        pytest.param(-0.005, 0.025, 1, id="larger batches are slower an image"),
    ],
)
def test_it_is_learned_whether_batching_pays(fixed_s: float, image_s: float, good: int) -> None:
    """The batch size chosen is the smallest that comes near the best rate."""
    assert taught(fixed_s, image_s).good_images(Size("a", 100, 8)) == good


def test_what_sizes_take_more_at_their_first_run_does_not_make_batching_look_useless() -> None:
    """As measured on an engine that lays out memory by shape, which then runs at what is held best."""
    first_s = {1: 0.051, 8: 0.343, 5: 0.179, 3: 0.121, 2: 0.099, 4: 0.138}
    cost = CostModel()
    for images, seconds in first_s.items():
        cost.learn(Size("a", 100, images), seconds)
    for _ in range(20):
        images = cost.good_images(Size("a", 100, 8))
        cost.learn(Size("a", 100, images), 0.012 + 0.022 * images)
    assert cost.good_images(Size("a", 100, 8)) >= 4


def test_a_wrong_belief_about_batches_is_corrected_by_few_though_nobody_asks_for_masks() -> None:
    """Batching did not pay and now does: five batches of two among three hundred single images tell."""
    cost = taught(0.0, 0.033)
    for batch in range(320):
        images = 2 if batch % 64 == 63 else 1
        cost.learn(Size("a", 100, images), 0.012 + 0.022 * images)
    assert cost.good_images(Size("a", 100, 8)) >= 4


def test_what_has_not_been_seen_for_long_is_kept() -> None:
    """Thousands of batches of one size: what one image costs alone is still known."""
    cost, chance = taught(0.010, 0.005), random.Random(2)
    for _ in range(5000):
        cost.learn(Size("a", 100, 8), 0.050 * (1 + 0.1 * chance.uniform(-1, 1)))
    assert cost.predict_s(Size("a", 100, 1)) == pytest.approx(0.015, rel=0.3)

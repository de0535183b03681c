"""The images that are sent."""

import io
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from loadtests.pictures import NoPictures, deal, read_pictures, resize_to, spread_sizes_wh


def test_pictures_carry_their_type_and_size(picture_folder: Path) -> None:
    """What is sent is labelled truthfully, and what the answer must say of its size is known."""
    pictures = read_pictures(picture_folder)
    assert [(p.name, p.content_type, p.upright_wh) for p in pictures] == [
        ("a.png", "image/png", (8, 6)),
        ("b.jpg", "image/jpeg", (10, 4)),
        ("c.png", "image/png", (5, 7)),
    ]
    assert pictures[0].body == (picture_folder / "a.png").read_bytes()


def test_a_sideways_photograph_has_the_size_a_person_sees(tmp_path: Path) -> None:
    """EXIF orientation 6 swaps width and height, as in the service's answer."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "phone.jpg", exif=exif)
    assert read_pictures(tmp_path)[0].upright_wh == (20, 30)


def test_a_broken_image_is_still_traffic(tmp_path: Path) -> None:
    """Robustness runs need files that no decoder can read."""
    (tmp_path / "broken.jpg").write_bytes(b"not an image")
    (picture,) = read_pictures(tmp_path)
    assert picture.upright_wh is None
    assert picture.body == b"not an image"


def test_a_folder_without_images_is_named(tmp_path: Path) -> None:
    """The message has the folder and what was looked for."""
    (tmp_path / "notes.txt").write_text("nothing to see")
    with pytest.raises(NoPictures, match=r"no images in .*\.jpg"):
        read_pictures(tmp_path)


def test_dealing_goes_round_evenly_in_a_seeded_order(picture_folder: Path) -> None:
    """Seven requests over three images send each two or three times, in the order the seed gives."""
    pictures = read_pictures(picture_folder)
    dealt = deal(pictures, 7, seed=1)
    assert sorted(Counter(p.name for p in dealt).values()) == [2, 2, 3]
    assert dealt == deal(pictures, 7, seed=1)
    assert any(deal(pictures, 7, seed=seed) != dealt for seed in range(2, 6))


def test_without_a_folder_the_shipped_golden_images_are_sent() -> None:
    """A run needs nothing that is not in the repository."""
    assert {Path(picture.name).suffix for picture in read_pictures(None)} == {".png", ".jpg"}


@pytest.mark.parametrize("count", [1, 2, 4, 16])
def test_sizes_spread_from_upright_to_lying(count: int) -> None:
    """As many different sizes as asked for, of about the same area, none beyond the widest aspect."""
    sizes_wh = spread_sizes_wh(count, 96, widest=1.5)
    assert len(set(sizes_wh)) == count
    for width, height in sizes_wh:
        assert width * height == pytest.approx(96 * 96, rel=0.03)
        assert 1 / 1.5 - 0.02 <= width / height <= 1.5 + 0.02
    assert sizes_wh == sorted(sizes_wh)


def test_pictures_are_resized_to_exactly_the_sizes_asked_for(picture_folder: Path) -> None:
    """Every picture in every size, and the size is true of the bytes."""
    made = resize_to(read_pictures(picture_folder), [(20, 30), (40, 10)])
    assert Counter(picture.upright_wh for picture in made) == {(20, 30): 3, (40, 10): 3}
    for picture in made:
        with Image.open(io.BytesIO(picture.body)) as image:
            assert image.size == picture.upright_wh

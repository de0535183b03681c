"""What `rcnn detect` makes of its arguments."""

from pathlib import Path

import pytest

from service.detect_files.sources import NothingToDo, find_images


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """A film's folder: frames out of alphabetical order, a scene below, a file that is no image."""
    (tmp_path / "scene2").mkdir()
    for name in ("frame10.png", "frame2.PNG", "frame1.png", "scene2/frame1.jpg", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def test_a_folder_is_its_images_in_the_order_a_person_counts(frames: Path) -> None:
    """frame2 before frame10, folders below included, other files left out."""
    found = [source.relative.as_posix() for source in find_images([str(frames)])]
    assert found == ["frame1.png", "frame2.PNG", "frame10.png", "scene2/frame1.jpg"]


def test_globs_and_files_keep_the_order_they_were_given_in(frames: Path) -> None:
    """A quoted glob is expanded in natural order; files come as they come, there or not."""
    found = find_images([str(frames / "gone.png"), str(frames / "**/frame1*")])
    assert [source.relative.name for source in found] == ["gone.png", "frame1.png", "frame10.png", "frame1.jpg"]


def test_a_name_that_looks_like_a_glob_is_first_of_all_a_name(tmp_path: Path) -> None:
    """cell[1].png exists: it is that file."""
    (tmp_path / "cell[1].png").write_bytes(b"x")
    (source,) = find_images([str(tmp_path / "cell[1].png")])
    assert source.read() == b"x"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["{}"], "no image in this folder", id="empty folder"),
        pytest.param(["{}/*.png"], "nothing matches", id="glob without a match"),
        pytest.param(["-", "-"], "given twice", id="stdin twice"),
    ],
)
def test_arguments_without_an_image_are_refused(tmp_path: Path, arguments: list[str], words: str) -> None:
    """Nothing to do is a mistake, and said."""
    with pytest.raises(NothingToDo, match=words):
        find_images([argument.format(tmp_path) for argument in arguments])

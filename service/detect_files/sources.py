"""What `rcnn detect` was pointed at -> the images, in order."""

import glob
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

STDIN = "-"
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


class NothingToDo(Exception):
    """The arguments name no image; the message says which one and what was expected."""


@dataclass(frozen=True)
class Source:
    """One image to ask about: name as shown, relative as its outputs are called, read its bytes (raises OSError)."""

    name: str
    relative: PurePath
    read: Callable[[], bytes]
    path: Path | None = None  # None: standard input


def find_images(arguments: Sequence[str]) -> list[Source]:
    """
    Files as they come, folders and globs (`**` included) in natural order, `-` for one image on standard input.

    Natural order counts: frame2 comes before frame10. Raises NothingToDo for a folder or glob without images, and for a
    second `-`.
    """
    if list(arguments).count(STDIN) > 1:
        raise NothingToDo("- was given twice: standard input holds one image")
    return [source for argument in arguments for source in _expand(argument)]


def _expand(argument: str) -> list[Source]:
    if argument == STDIN:
        return [Source(STDIN, PurePath("stdin"), sys.stdin.buffer.read)]
    path = Path(argument)
    if path.is_dir():
        found = sorted(filter(_is_image, path.rglob("*")), key=_natural)
        return [_file(image, image.relative_to(path)) for image in _some(found, f"{argument}: no image in this folder")]
    if not path.exists() and glob.has_magic(argument):
        matches = sorted(filter(Path.is_file, map(Path, glob.iglob(argument, recursive=True))), key=_natural)
        return [_file(image, PurePath(image.name)) for image in _some(matches, f"{argument}: nothing matches")]
    return [_file(path, PurePath(path.name))]


def _file(path: Path, relative: PurePath) -> Source:
    return Source(str(path), relative, path.read_bytes, path)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and path.is_file()


def _some(found: list[Path], otherwise: str) -> list[Path]:
    if not found:
        raise NothingToDo(f"{otherwise}; expected {', '.join(_SUFFIXES)} files")
    return found


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Digits compare as numbers, everything else as text."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", str(path)) if part]

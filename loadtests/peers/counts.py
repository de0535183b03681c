"""How a peer's engine batched: a line in a file, rewritten after every call. Standard library only."""

import os
from dataclasses import dataclass
from pathlib import Path

FIELD_BYTES = 20
"""Every figure is written as wide as this, so that the line never grows shorter and is read whole."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Since the start."""

    calls: int = 0
    """Of the engine."""
    images: int = 0
    valid_pixels: int = 0
    canvas_pixels: int = 0
    """Of the canvases as they were run, padding included."""

    def plus(self, images: int, valid_pixels: int, canvas_pixels: int) -> "Counts":
        """One engine call later."""
        return Counts(
            self.calls + 1, self.images + images, self.valid_pixels + valid_pixels, self.canvas_pixels + canvas_pixels
        )

    def since(self, before: "Counts") -> "Counts":
        return Counts(
            self.calls - before.calls,
            self.images - before.images,
            self.valid_pixels - before.valid_pixels,
            self.canvas_pixels - before.canvas_pixels,
        )

    @property
    def images_a_call(self) -> float | None:
        return self.images / self.calls if self.calls else None

    @property
    def padding_ratio(self) -> float | None:
        """Share of the canvases that holds no image."""
        return 1 - self.valid_pixels / self.canvas_pixels if self.canvas_pixels else None


def write(counts: Counts, file: int) -> None:
    """Over what the file, open for writing, holds."""
    figures = (counts.calls, counts.images, counts.valid_pixels, counts.canvas_pixels)
    os.pwrite(file, "".join(f"{figure:{FIELD_BYTES}d}" for figure in figures).encode(), 0)


def read(path: Path) -> Counts:
    """Nothing counted where there is no file yet."""
    try:
        line = path.read_text()
    except FileNotFoundError:
        return Counts()
    return Counts(*(int(line[start : start + FIELD_BYTES]) for start in range(0, len(line), FIELD_BYTES)))

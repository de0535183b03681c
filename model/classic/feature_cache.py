"""Features of regions on disk, one file an image, as R-CNN and SPPnet keep them between their stages of training."""

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class FeatureCache:
    """A folder of (R, F) float32 arrays by image number. What was there before is deleted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    def write(self, image: int, features: NDArray[np.float32]) -> None:
        """Keep features (R, F) of one image."""
        np.save(self._path(image), features)

    def read(self, image: int) -> NDArray[np.float32]:
        """(R, F) as written, mapped rather than read: rows that are not used are not loaded."""
        return np.asarray(np.load(self._path(image), mmap_mode="r"))

    @property
    def bytes_on_disk(self) -> int:
        """Of all files together."""
        return sum(path.stat().st_size for path in self._folder.iterdir())

    def _path(self, image: int) -> Path:
        return self._folder / f"{image:06d}.npy"

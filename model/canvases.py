"""Few canvas shapes for many image sizes: chosen so that the least of each canvas is padding."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.bundle import Preprocess
from service.preprocess import resized_hw

Shape = tuple[int, int]  # height, width
STRIDE_PX = 32  # of the coarsest convolutional level: canvases of its multiples waste nothing
# 4:3, 3:2, 16:9 and square, upright and lying: what cameras and screens make.
CAMERA_SIZES: tuple[Shape, ...] = (
    (1200, 1600), (1600, 1200), (1200, 1800), (1800, 1200), (1080, 1920), (1920, 1080), (1000, 1000),
)  # fmt: skip
_WORTH = 0.01  # a further canvas has to save this part of all pixels


@dataclass(frozen=True)
class Grid:
    """Canvas shapes, and padding as a part of all pixels computed for the sizes they were chosen for."""

    shapes: tuple[Shape, ...]
    padding: float


def choose(sizes_hw: Sequence[Shape], spec: Preprocess, most: int) -> list[Grid]:
    """
    The grid for images of sizes_hw (repeats weigh more) under spec's resize rule: the best found with each count of
    canvases up to `most`, ending where one more saves less than a hundredth. The last is the choice.

    Greedy addition with exchanges after each, as for the k-median problem (Arya et al. 2004, local search).
    """
    resized = np.array([resized_hw(size, spec) for size in sizes_hw])
    candidates = _candidates(resized, spec)
    costs = _costs(candidates, resized)
    chosen = sorted({candidates.tolist().index(list(shape)) for shape in _holding_everything(spec)})
    grids = [_grid(candidates, costs, chosen, resized)]
    while len(chosen) < most:
        fixed = len(grids[0].shapes)
        chosen = _exchange(costs, _add(costs, chosen), fixed)
        grid = _grid(candidates, costs, chosen, resized)
        if grids[-1].padding - grid.padding < _WORTH:
            break
        grids.append(grid)
    return grids


def exact(sizes_hw: Sequence[Shape], spec: Preprocess) -> Grid:
    """Every image on its own multiple of 32: the least padding any grid can have, with as many shapes as it takes."""
    resized = np.array([resized_hw(size, spec) for size in sizes_hw])
    shapes = {(int(h), int(w)) for h, w in _up(resized)}
    return Grid(tuple(sorted(shapes)), _padding(_up(resized).prod(1).sum(), resized))


def _holding_everything(spec: Preprocess) -> set[Shape]:
    """The canvases without which some image would have none."""
    short = min(spec.min_size, spec.max_size) if spec.resize == "fit" else spec.max_size
    short, long = _up(np.array([short, spec.max_size])).tolist()
    return {(short, long), (long, short)}


def _candidates(resized: NDArray[np.int64], spec: Preprocess) -> NDArray[np.int64]:
    heights, widths = (np.unique(_up(side)) for side in resized.T)
    pairs = np.stack(np.meshgrid(heights, widths, indexing="ij"), -1).reshape(-1, 2)
    return np.unique(np.concatenate([pairs, np.array(sorted(_holding_everything(spec)))]), axis=0)


def _costs(candidates: NDArray[np.int64], resized: NDArray[np.int64]) -> NDArray[np.float64]:
    """(C, S): pixels of candidate c if size s lies on it, infinite where it does not fit."""
    fits = (candidates[:, None] >= resized[None]).all(-1)
    return np.where(fits, candidates.prod(1)[:, None].astype(float), np.inf)


def _add(costs: NDArray[np.float64], chosen: list[int]) -> list[int]:
    totals = np.minimum(costs, costs[chosen].min(0)).sum(1)
    return [*chosen, int(totals.argmin())]


def _exchange(costs: NDArray[np.float64], chosen: list[int], fixed: int) -> list[int]:
    """Replace one chosen canvas after the fixed ones by a better one, until none is better."""
    best = costs[chosen].min(0).sum()
    improved = True
    while improved:
        improved = False
        for place in range(fixed, len(chosen)):
            rest = chosen[:place] + chosen[place + 1 :]
            trial = _add(costs, rest)
            total = costs[trial].min(0).sum()
            if total < best - 0.5:
                chosen, best, improved = [*rest[:fixed], *rest[fixed:], trial[-1]], total, True
    return chosen


def _grid(
    candidates: NDArray[np.int64], costs: NDArray[np.float64], chosen: list[int], resized: NDArray[np.int64]
) -> Grid:
    shapes = sorted((int(h), int(w)) for h, w in candidates[chosen])
    return Grid(
        tuple(sorted(set(shapes), key=lambda hw: (hw[0] * hw[1], hw))), _padding(costs[chosen].min(0).sum(), resized)
    )


def _padding(pixels: float, resized: NDArray[np.int64]) -> float:
    return 1 - float(resized.prod(1).sum()) / float(pixels)


def _up(sides_px: NDArray[np.int64]) -> NDArray[np.int64]:
    """To the next multiple of the stride."""
    return -(-sides_px // STRIDE_PX) * STRIDE_PX

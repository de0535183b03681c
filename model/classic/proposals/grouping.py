"""Hierarchical grouping: the two most similar neighbours become one, until one is left (Uijlings 2013, algorithm 1)."""

import heapq

import numpy as np
from numpy.typing import NDArray

from model.classic.proposals.regions import Regions

MEASURES = "CTSF"  # colour, texture, size, fill


class _Grouping:
    """Regions as they merge: the N first ones, then each merged one, in the order they come to be."""

    def __init__(self, regions: Regions, measures: str) -> None:
        self.first = len(regions.sizes)
        histograms = [
            values for letter, values in (("C", regions.colour), ("T", regions.texture)) if letter in measures
        ]
        described = np.concatenate(histograms or [np.zeros((self.first, 0))], axis=1)
        self._histograms = self._room_for_merged(described)
        self._sizes = self._room_for_merged(regions.sizes)
        self.boxes_xyxy = self._room_for_merged(regions.boxes_xyxy)
        self._pixels, self._measures = regions.pixels, measures

    def _room_for_merged(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([values, np.zeros((self.first - 1, *values.shape[1:]))])

    def similarities(self, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.float64]:
        """Equations 1 to 6: the sum of the chosen measures for each pair."""
        found = np.minimum(self._histograms[one], self._histograms[other]).sum(axis=1)
        sizes = self._sizes[one] + self._sizes[other]
        if "S" in self._measures:
            found += 1 - sizes / self._pixels
        if "F" in self._measures:
            around = _union(self.boxes_xyxy[one], self.boxes_xyxy[other])
            area = (around[:, 2] - around[:, 0]) * (around[:, 3] - around[:, 1])
            found += 1 - (area - sizes) / self._pixels
        return found

    def merge(self, one: int, other: int, into: int) -> None:
        """The histogram of a union is the mean of its parts weighted by size: no pixel is looked at again."""
        size, more = self._sizes[one], self._sizes[other]
        self._sizes[into] = size + more
        self._histograms[into] = (size * self._histograms[one] + more * self._histograms[other]) / (size + more)
        self.boxes_xyxy[into] = _union(self.boxes_xyxy[one, None], self.boxes_xyxy[other, None])[0]


def group(regions: Regions, measures: str) -> NDArray[np.float64]:
    """
    Boxes (2 N - 1, 4) xyxy of all regions met, the whole image (the last to come) first, the N first regions last.

    measures are letters of MEASURES. Of equal similarities that of the earliest pair wins: the order is certain.
    """
    grouping = _Grouping(regions, measures)
    neighbours: list[set[int]] = [set() for _ in range(2 * grouping.first - 1)]
    for one, other in regions.neighbours:
        neighbours[one].add(int(other))
        neighbours[other].add(int(one))
    values = grouping.similarities(regions.neighbours[:, 0], regions.neighbours[:, 1])
    heap = [(-value, int(a), int(b)) for value, (a, b) in zip(values, regions.neighbours, strict=True)]
    heapq.heapify(heap)
    gone = np.zeros(2 * grouping.first - 1, bool)
    for into in range(grouping.first, 2 * grouping.first - 1):
        one, other = _most_similar(heap, gone)
        grouping.merge(one, other, into)
        gone[[one, other]] = True
        around = sorted((neighbours[one] | neighbours[other]) - {one, other})
        for place in around:
            neighbours[place] -= {one, other}
            neighbours[place].add(into)
        neighbours[into] = set(around)
        beside = np.array(around, np.int64)
        for value, place in zip(grouping.similarities(np.full(len(beside), into), beside), around, strict=True):
            heapq.heappush(heap, (-value, place, into))
    return grouping.boxes_xyxy[::-1]


def _most_similar(heap: list[tuple[float, int, int]], gone: NDArray[np.bool_]) -> tuple[int, int]:
    """The best pair of which neither has been merged; pairs that are out of date are dropped on the way."""
    while True:
        _, one, other = heapq.heappop(heap)
        if not (gone[one] or gone[other]):
            return one, other


def _union(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """The smallest box (N, 4) around both."""
    return np.concatenate([np.minimum(one[:, :2], other[:, :2]), np.maximum(one[:, 2:], other[:, 2:])], axis=1)

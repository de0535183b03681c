"""Distributions as counts in fixed bins, and how far apart two of them are. Pure."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.signals import SIGNALS, Observation

Counts = dict[str, NDArray[np.float64]]  # by signal: (bins,)

LITTLE_PSI = 0.1  # below it a shift is taken for none, however sure: Siddiqi, "Credit Risk Scorecards", 2006
_PRIOR = 0.5  # Jeffreys': an empty bin is not impossible


@dataclass(frozen=True)
class Baseline:
    """
    What a model saw and said on the data it was judged on: baseline.json of a bundle.

    A value v of a signal lies in bin searchsorted(edges, v, "right"). floors: for each signal, the PSI that a window of
    window_images from the same world stays below in all but a share ALARMS of windows.
    """

    images: int
    labels: tuple[str, ...]
    edges: Mapping[str, NDArray[np.float64]]
    counts: Counts
    window_images: tuple[int, ...]
    floors: Mapping[str, tuple[float, ...]]

    def threshold_psi(self, signal: str, images: int) -> float:
        """The PSI above which a window of so many images is not chance, and not little either."""
        floor = np.interp(np.log(images), np.log(self.window_images), self.floors[signal])
        return max(float(floor), LITTLE_PSI)

    def empty(self) -> Counts:
        return {signal: np.zeros_like(counts) for signal, counts in self.counts.items()}

    def add(self, counts: Counts, observation: Observation) -> None:
        """Count observation into counts."""
        for signal, edges in self.edges.items():
            bins = np.searchsorted(edges, observation.values[signal], "right")
            np.add.at(counts[signal], bins, 1.0)

    def as_json(self) -> dict[str, object]:
        return {
            "schema_version": 1,
            "images": self.images,
            "labels": list(self.labels),
            "window_images": list(self.window_images),
            "signals": {
                signal: {
                    "edges": self.edges[signal].tolist(),
                    "counts": self.counts[signal].astype(int).tolist(),
                    "floor_psi": list(self.floors[signal]),
                }
                for signal in self.edges
            },
        }


def read_baseline(path: Path) -> Baseline:
    """Raises ValueError if it is not one."""
    try:
        written = json.loads(path.read_bytes())
        signals = {signal: written["signals"][signal] for signal in SIGNALS}
        return Baseline(
            written["images"],
            tuple(written["labels"]),
            {signal: np.array(row["edges"], np.float64) for signal, row in signals.items()},
            {signal: np.array(row["counts"], np.float64) for signal, row in signals.items()},
            tuple(written["window_images"]),
            {signal: tuple(row["floor_psi"]) for signal, row in signals.items()},
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path.name} is no baseline: {error!r}") from error


def total(parts: Iterable[Counts]) -> Counts:
    """Their sum; parts must not be empty."""
    rows = list(parts)
    return {signal: np.sum([row[signal] for row in rows], axis=0) for signal in rows[0]}


def psi(expected: NDArray[np.float64], found: NDArray[np.float64]) -> NDArray[np.float64]:
    """
    Population stability index between counts (..., bins), over the last axis; 0 where one of them counted nothing.

    The symmetric Kullback-Leibler divergence (Jeffreys 1946), in nats; as an index Lewis, "An Introduction to Credit
    Scoring", 1994.
    """
    return _either(expected, found, lambda p, q: (q - p) * np.log(q / p))


def kl(expected: NDArray[np.float64], found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kullback-Leibler divergence of found from expected, in nats, as psi."""
    return _either(expected, found, lambda p, q: q * np.log(q / p))


def _either(
    expected: NDArray[np.float64],
    found: NDArray[np.float64],
    term: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]],
) -> NDArray[np.float64]:
    p, q = _shares(expected), _shares(found)
    empty = (expected.sum(axis=-1) == 0) | (found.sum(axis=-1) == 0)
    return np.where(empty, 0.0, term(p, q).sum(axis=-1))


def _shares(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    smoothed = counts + _PRIOR
    shares: NDArray[np.float64] = smoothed / smoothed.sum(axis=-1, keepdims=True)
    return shares


def bars(counts: Sequence[float]) -> str:
    """A distribution as one character a bin."""
    most = max(max(counts), 1e-9)
    return "".join(" ▁▂▃▄▅▆▇█"[min(8, int(np.ceil(8 * count / most)))] for count in counts)

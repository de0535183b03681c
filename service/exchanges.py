"""Everybody who reads questions with their answers, told one after the other."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.detections import Answer, DetectOptions


class ExchangeReader(Protocol):
    """Takes microseconds and never raises."""

    def exchanged(
        self, picture: bytes | NDArray[np.uint8], options: DetectOptions, score_threshold: float, answer: Answer
    ) -> None: ...


class Exchanges:
    """Readers as one."""

    def __init__(self, readers: Sequence[ExchangeReader]) -> None:
        self._readers = readers

    def exchanged(
        self, picture: bytes | NDArray[np.uint8], options: DetectOptions, score_threshold: float, answer: Answer
    ) -> None:
        for reader in self._readers:
            reader.exchanged(picture, options, score_threshold, answer)

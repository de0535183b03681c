"""Answers kept for the same question: by digest of image, options and model; bounded in bytes, oldest use goes."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.detections import Detections, DetectOptions, Mask, PngMask, PolygonMask, RleMask

_ENTRY_BYTES = 1_000  # what an entry's objects take beside their arrays, strings and bytes
_FLOAT_BYTES, _LABEL_BYTES, _MASK_BYTES = 32, 8, 200  # of Python's own objects, on 64 bits


class CacheObserver(Protocol):
    """Told what happens inside, as plain numbers."""

    def cache_hit(self) -> None: ...
    def cache_missed(self) -> None: ...
    def cache_changed(self, entries: int, used_bytes: int) -> None: ...


class ResponseCache:
    """
    Detections by key, at most max_bytes of them; 0 keeps nothing and shares nothing.

    Used on one event loop only. What it gives back is shared between callers and must not be written to.
    """

    def __init__(self, max_bytes: int, observer: CacheObserver) -> None:
        self._max_bytes, self._observer = max_bytes, observer
        self._kept: OrderedDict[bytes, tuple[Detections, int]] = OrderedDict()  # the one used last stands last
        self._running: dict[bytes, asyncio.Future[Detections | None]] = {}
        self._used_bytes = 0

    @property
    def is_on(self) -> bool:
        return self._max_bytes > 0

    def get(self, key: bytes) -> Detections | None:
        """What is kept under key, counted as a hit; None is not counted, for it may still be shared or computed."""
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        self._observer.cache_hit()
        return found[0]

    async def share(self, key: bytes, compute: Callable[[], Awaitable[Detections]]) -> tuple[Detections, bool]:
        """
        What compute() gives, and whether another's was used: those who ask the same at the same time wait for one.

        If the one who computes fails or leaves, the others compute for themselves, each with its own outcome.
        """
        if not self.is_on:
            return await compute(), False
        if (running := self._running.get(key)) is not None:
            shared = await asyncio.shield(running)  # a caller who leaves must not end it for the others
            if shared is not None:
                self._observer.cache_hit()
                return shared, True
        self._observer.cache_missed()
        return await self._compute(key, compute), False

    async def _compute(self, key: bytes, compute: Callable[[], Awaitable[Detections]]) -> Detections:
        mine = asyncio.get_running_loop().create_future()
        is_leading = self._running.setdefault(key, mine) is mine
        try:
            detections = await compute()
            mine.set_result(detections)
            self._keep(key, detections)
            return detections
        finally:
            if is_leading:
                del self._running[key]
            if not mine.done():
                mine.set_result(None)

    def _keep(self, key: bytes, detections: Detections) -> None:
        size = size_bytes(detections)
        if size > self._max_bytes:
            return
        _, old_bytes = self._kept.pop(key, (None, 0))
        self._kept[key] = (detections, size)
        self._used_bytes += size - old_bytes
        while self._used_bytes > self._max_bytes:
            _, (_, gone_bytes) = self._kept.popitem(last=False)
            self._used_bytes -= gone_bytes
        self._observer.cache_changed(len(self._kept), self._used_bytes)


def cache_key(
    picture: bytes | NDArray[np.uint8], options: DetectOptions, model_digest: str, proposals: Sequence[object] = ()
) -> bytes:
    """
    32 bytes, for an encoded picture or the pixels of one.

    A cryptographic digest: a quicker one could be made to collide, and a caller would then be given the answer to
    another's image. Takes about a millisecond a megabyte.
    """
    encoded = picture if isinstance(picture, bytes) else picture.tobytes()
    shape = "encoded" if isinstance(picture, bytes) else str(picture.shape)
    return hashlib.sha256(f"{model_digest}\n{options!r}\n{proposals!r}\n{shape}\n".encode() + encoded).digest()


def size_bytes(detections: Detections) -> int:
    """About what detections take in memory; never less than what their arrays, strings and bytes hold."""
    arrays = detections.boxes_xyxy.nbytes + detections.scores.nbytes + detections.label_ids.nbytes
    points = detections.keypoints.points_xys.nbytes if detections.keypoints is not None else 0
    masks = sum(_MASK_BYTES + _mask_bytes(mask) for mask in detections.masks or ())
    return _ENTRY_BYTES + arrays + points + masks + _LABEL_BYTES * len(detections.labels)


def _mask_bytes(mask: Mask) -> int:
    if isinstance(mask, RleMask):
        return len(mask.counts)
    if isinstance(mask, PolygonMask):
        return sum(_FLOAT_BYTES * len(ring) for ring in mask.rings_xy)
    return len(mask.png) if isinstance(mask, PngMask) else len(mask.probabilities)

"""Bytes that all requests may hold together: a budget, not a hope."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.errors import ImageTooLarge, Overloaded

_RETRY_AFTER_S = 1.0


class BodyMemory:
    """What request bodies take, from their first byte to their answer. Nobody waits: one too many is refused."""

    def __init__(self, max_bytes: int, changed: Callable[[int], None]) -> None:
        """changed is told the bytes held, whenever they change."""
        self._max_bytes, self._changed = max_bytes, changed
        self._held_bytes, self._lock = 0, threading.Lock()

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """One request's part, given back at the end of the block."""
        share = Share(self)
        try:
            yield share
        finally:
            self._grow(-share.held_bytes)

    def _grow(self, by_bytes: int) -> None:
        with self._lock:
            if by_bytes > 0 and self._held_bytes + by_bytes > self._max_bytes:
                held = f"The bodies of all requests hold {self._held_bytes} bytes, near the {self._max_bytes} allowed."
                raise Overloaded(held, _RETRY_AFTER_S, "body_memory")
            self._held_bytes += by_bytes
            self._changed(self._held_bytes)


class Share:
    """What one request holds of BodyMemory."""

    def __init__(self, memory: BodyMemory) -> None:
        self._memory, self.held_bytes = memory, 0

    def add(self, more_bytes: int) -> None:
        """Raises Overloaded if all requests together would hold too much."""
        self._memory._grow(more_bytes)
        self.held_bytes += more_bytes


class DecodeMemory:
    """What pictures take while they are decoded. For threads: one too many waits until another is done."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._free_bytes = max_bytes, max_bytes
        self._changed = threading.Condition()

    @contextmanager
    def room(self, needed_bytes: int) -> Iterator[None]:
        """Hold so much for the length of the block. Raises ImageTooLarge if that is more than there ever is."""
        if needed_bytes > self._max_bytes:
            raise ImageTooLarge(
                f"The image takes {needed_bytes} bytes to decode; at most {self._max_bytes} are given. "
                "Send fewer pixels, or 8-bit RGB without transparency."
            )
        with self._changed:
            self._changed.wait_for(lambda: self._free_bytes >= needed_bytes)
            self._free_bytes -= needed_bytes
        try:
            yield
        finally:
            with self._changed:
                self._free_bytes += needed_bytes
                self._changed.notify_all()

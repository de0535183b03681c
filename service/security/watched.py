"""Files that may change while the service runs: keys, certificates. A broken change keeps what held before."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import structlog

Value = TypeVar("Value")
_log = structlog.get_logger("security")


class FileUnusable(OSError):
    """A file named in the settings cannot be used; the message says which and why."""


class Watched(Generic[Value]):
    """What read() makes of files, made anew once one of them has changed. Safe to ask from any thread."""

    def __init__(self, paths: Sequence[Path], read: Callable[[], Value], every_s: float = 0.0) -> None:
        """every_s: how long the files are taken to be as they were. Raises FileUnusable, as read should."""
        self._paths, self._read, self._every_s = tuple(paths), read, every_s
        self._lock = threading.Lock()
        self._stamp = self._look()
        self._looked_s = time.monotonic()
        self._value = read()

    def now(self) -> Value:
        """The latest value that could be read."""
        now_s = time.monotonic()
        if now_s - self._looked_s >= self._every_s:
            with self._lock:
                self._looked_s = now_s
                self._refresh()
        return self._value

    def _refresh(self) -> None:
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return
            self._stamp = stamp  # before reading: a file that changes meanwhile is read once more
            self._value = self._read()
            _log.info("file read anew", files=[path.name for path in self._paths])
        except OSError as error:
            _log.error(
                "changed file unusable, the old one holds", files=[p.name for p in self._paths], reason=str(error)
            )

    def _look(self) -> tuple[tuple[int, int, int], ...]:
        """Modified, inode and size of each: a Secret's volume swaps a symbolic link, and an editor renames."""
        try:
            found = [path.stat() for path in self._paths]
        except OSError as error:
            raise FileUnusable(f"cannot read {error.filename}: {error.strerror}") from None
        return tuple((stat.st_mtime_ns, stat.st_ino, stat.st_size) for stat in found)

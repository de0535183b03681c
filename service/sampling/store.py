"""Where samples lie: a file each, in a folder or any store fsspec knows; never more than so many bytes for so long."""

import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from service.sampling.seal import CannotOpen, Seal

_TIME = "%Y%m%dT%H%M%SZ"
_NAME = re.compile(r"(\d{8}T\d{6}Z)-[0-9a-f]{16}\.(sealed|zip)")


class StoreUnusable(OSError):
    """The address of the store means nothing here; the message says why."""


class TooLarge(ValueError):
    """One sample larger than all may be together."""


class SampleStore:
    """
    Samples under a URL, which other replicas may write to too. Used by one thread at a time.

    Only files named as samples are ever counted, read or removed. Others' writes are known from the next sweep on.
    """

    def __init__(
        self,
        url: str,
        seal: Seal | None,
        max_bytes: int,
        ttl_s: float,
        now_s: Callable[[], float] = lambda: datetime.now(UTC).timestamp(),
    ) -> None:
        """seal: None leaves samples readable. max_bytes: of all files together. Raises StoreUnusable."""
        import fsspec  # only where samples are kept: it costs every start 20 ms

        try:
            self._files, folder = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise StoreUnusable(f"samples cannot be kept at the address set: {error}") from error
        self._folder, self._seal, self._now_s = folder.rstrip("/"), seal, now_s
        self._max_bytes, self._ttl_s = max_bytes, ttl_s
        self._bytes_of: dict[str, int] | None = None  # by name; None: not looked yet

    @property
    def used_bytes(self) -> int:
        return sum((self._bytes_of or {}).values())

    @property
    def kept(self) -> int:
        return len(self._bytes_of or {})

    def names(self) -> list[str]:
        """Of the samples there, the oldest first."""
        return sorted(self._listed())

    def read(self, name: str) -> bytes:
        """A packed sample. Raises FileNotFoundError or CannotOpen."""
        if not _NAME.fullmatch(name):
            raise FileNotFoundError(f"{name} is not the name of a sample")
        content: bytes = self._files.cat_file(self._path(name))
        if name.endswith(".zip"):
            return content
        if self._seal is None:
            raise CannotOpen(f"{name} is sealed: its key is needed")
        return self._seal.open(name, content)

    def put(self, packed: bytes) -> str:
        """Keep one, under the name it gets; the oldest make room for it. Raises TooLarge, or what the store raises."""
        stamp = datetime.fromtimestamp(self._now_s(), UTC).strftime(_TIME)
        name = f"{stamp}-{secrets.token_hex(8)}.{'sealed' if self._seal else 'zip'}"
        content = self._seal.close(name, packed) if self._seal else packed
        if len(content) > self._max_bytes:
            raise TooLarge(f"{len(content)} bytes, of {self._max_bytes} for all samples")
        if self._bytes_of is None:
            self.sweep()
        self._make_room(len(content))
        self._write(name, content)
        return name

    def sweep(self) -> None:
        """Look what is there, and remove what has expired or is too much. Raises what the store raises."""
        self._bytes_of = self._listed()
        oldest_s = self._now_s() - self._ttl_s
        for name in [name for name in self._bytes_of if _taken_at_s(name) <= oldest_s]:
            self._remove(name)
        self._make_room(0)

    def _listed(self) -> dict[str, int]:
        self._files.invalidate_cache()
        found = self._files.find(self._folder, maxdepth=1, detail=True)
        sizes = {path.rsplit("/", 1)[-1]: int(row["size"]) for path, row in found.items()}
        return {name: size for name, size in sizes.items() if _NAME.fullmatch(name)}

    def _make_room(self, needed_bytes: int) -> None:
        known = self._bytes_of or {}
        used_bytes = self.used_bytes
        for name in sorted(known):
            if used_bytes + needed_bytes <= self._max_bytes:
                break
            used_bytes -= known[name]
            self._remove(name)

    def _write(self, name: str, content: bytes) -> None:
        try:
            self._files.makedirs(self._folder, exist_ok=True)
            self._files.pipe_file(self._path(name), content)
        except BaseException:
            with suppress(Exception):  # half a sample is none
                self._files.rm_file(self._path(name))
            raise
        if self._bytes_of is not None:
            self._bytes_of[name] = len(content)

    def _remove(self, name: str) -> None:
        with suppress(FileNotFoundError):  # another replica was quicker
            self._files.rm_file(self._path(name))
        if self._bytes_of is not None:
            self._bytes_of.pop(name, None)

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}"


def _taken_at_s(name: str) -> float:
    """In Unix seconds. name: as put gave it."""
    return datetime.strptime(name.split("-", 1)[0], _TIME).replace(tzinfo=UTC).timestamp()

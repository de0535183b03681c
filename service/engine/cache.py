"""
Compiled graphs kept on disk from one start to the next.

One folder an entry, named by a hash of everything the content depends on. An entry is written beside its place and
renamed into it, so that readers and other processes see all of it or nothing; it is read only if its checksums hold.
A cache that cannot be read or written costs time, never a start. Who can write the folder can change what is served:
it deserves the same care as the bundles.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

Log = Callable[[str], None]

_CHECKSUMS = "sha256.json"
_MOST_ENTRIES = 24
_NAME = re.compile(r"[0-9a-f]{32}|\.writing-.*")


class EngineCache:
    """Entries under root; without a root nothing is kept."""

    def __init__(self, root: Path | None, log: Log = lambda _: None) -> None:
        self._root, self._log = root, log

    def get(self, key: tuple[str, ...], write: Callable[[Path], None]) -> Path | None:
        """
        The folder of key's entry, filled by write(folder) where there is none yet.

        None where nothing can be kept: no root, not writable, or write() failed. The reason is logged.
        """
        return self.find(key) or self._store(key, write)

    def find(self, key: tuple[str, ...]) -> Path | None:
        """The folder of key's entry if it is there and whole; a damaged one is removed."""
        if self._root is None or not (folder := self._folder(key)).is_dir():
            return None
        if not _is_whole(folder):
            self._log(f"engine cache: {folder} is damaged and is made anew")
            shutil.rmtree(folder, ignore_errors=True)
            return None
        with contextlib.suppress(OSError):
            os.utime(folder)  # the least recently used entries go first
        return folder

    def working_folder(self, key: tuple[str, ...]) -> Path | None:
        """A folder for engines that keep their own files in it, or None where it cannot be made."""
        if self._root is None:
            return None
        folder = self._folder(key)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            self._log(f"engine cache {self._root} cannot be used ({error}); every start compiles")
            return None
        return folder

    def _store(self, key: tuple[str, ...], write: Callable[[Path], None]) -> Path | None:
        if self._root is None:
            return None
        try:
            with _scratch_folder(self._root) as scratch:
                write(scratch)
                sums = {path.name: _sha256(path) for path in scratch.iterdir()}
                (scratch / _CHECKSUMS).write_text(json.dumps(sums))
                with contextlib.suppress(OSError):  # another process was first: its entry is as good
                    scratch.rename(self._folder(key))
            self._drop_oldest()
        except Exception as error:  # the disk's and the engines' own errors alike: the start goes on without a cache
            self._log(f"engine cache {self._root} cannot be written ({error}); every start compiles")
            return None
        return self.find(key)

    def _folder(self, key: tuple[str, ...]) -> Path:
        assert self._root is not None
        return self._root / hashlib.sha256("\0".join(key).encode()).hexdigest()[:32]

    def _drop_oldest(self) -> None:
        assert self._root is not None
        entries = [path for path in self._root.iterdir() if _NAME.fullmatch(path.name)]  # what else lies there stays
        for folder in sorted(entries, key=lambda path: path.stat().st_mtime)[:-_MOST_ENTRIES]:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _scratch_folder(root: Path) -> Iterator[Path]:
    """A folder in root that is gone afterwards, unless it was renamed."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=root, prefix=".writing-"))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    try:
        sums = json.loads((folder / _CHECKSUMS).read_bytes())
        return bool(sums) and all(_sha256(folder / name) == expected for name, expected in sums.items())
    except (OSError, ValueError, AttributeError):
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

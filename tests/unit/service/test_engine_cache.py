"""Compiled graphs on disk: whole or not used at all, and never a reason not to start."""

import os
from pathlib import Path

import pytest

from service.engine.cache import EngineCache

KEY = ("engine", "1.0", "avx2", "sha256:abc", "detector.onnx")


class Writer:
    """Writes one file, and counts how often it was asked to."""

    def __init__(self, text: str) -> None:
        self.text, self.calls = text, 0

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        (folder / "graph").write_text(self.text)


def test_what_was_compiled_once_is_found_at_the_next_start(tmp_path: Path) -> None:
    """By another process too: the folder is all they share. Another key is another entry."""
    writer = Writer("compiled")
    for _ in range(2):
        folder = EngineCache(tmp_path / "cache").get(KEY, writer)
        assert folder is not None and (folder / "graph").read_text() == "compiled"
    assert writer.calls == 1
    assert EngineCache(tmp_path / "cache").find((*KEY, "other")) is None


@pytest.mark.parametrize("damage", ["truncate", "change", "delete file", "delete checksums", "garble checksums"])
def test_a_damaged_entry_is_made_anew(tmp_path: Path, damage: str) -> None:
    """Whatever happened to it on disk."""
    cache, log = EngineCache(tmp_path), list[str]()
    folder = cache.get(KEY, Writer("compiled"))
    assert folder is not None
    graph, sums = folder / "graph", folder / "sha256.json"
    {
        "truncate": lambda: graph.write_text("comp"),
        "change": lambda: graph.write_text("compilee"),
        "delete file": graph.unlink,
        "delete checksums": sums.unlink,
        "garble checksums": lambda: sums.write_text("[1]"),
    }[damage]()
    again = EngineCache(tmp_path, log.append).get(KEY, Writer("compiled"))
    assert again is not None and (again / "graph").read_text() == "compiled"
    assert "damaged" in log[0]


def test_without_a_root_nothing_is_kept(tmp_path: Path) -> None:
    """The setting left empty."""
    writer = Writer("compiled")
    assert EngineCache(None).get(KEY, writer) is None and writer.calls == 0


def test_a_place_that_cannot_be_written_is_said_and_done_without(tmp_path: Path) -> None:
    """A file where the folder should be fails for root as well."""
    (tmp_path / "file").write_text("")
    log: list[str] = []
    cache = EngineCache(tmp_path / "file" / "cache", log.append)
    assert cache.get(KEY, Writer("compiled")) is None
    assert cache.working_folder(KEY) is None
    assert "cannot be written" in log[0] and "cannot be used" in log[1]


def test_an_engine_that_fails_to_write_leaves_nothing_behind(tmp_path: Path) -> None:
    """A full disk half-way."""

    def fails(folder: Path) -> None:
        (folder / "graph").write_text("half")
        raise OSError("no space left on device")

    assert EngineCache(tmp_path).get(KEY, fails) is None
    assert list(tmp_path.iterdir()) == []


def test_two_that_compile_at_once_both_find_a_whole_entry(tmp_path: Path) -> None:
    """The second one's rename loses against the first's; what is there is as good."""
    cache = EngineCache(tmp_path)

    def while_another_writes(folder: Path) -> None:
        Writer("first")(EngineCache(tmp_path).get(KEY, Writer("first")) or folder)
        (folder / "graph").write_text("second")

    folder = cache.get(KEY, while_another_writes)
    assert folder is not None and (folder / "graph").read_text() == "first"
    assert len(list(tmp_path.iterdir())) == 1


def test_the_longest_unused_entries_make_room(tmp_path: Path) -> None:
    """New versions come for years; the folder does not grow with them."""
    cache = EngineCache(tmp_path)
    first = cache.get(("0",), Writer("0"))
    assert first is not None
    os.utime(first, (0, 0))
    (tmp_path / "somebody-elses").mkdir()
    os.utime(tmp_path / "somebody-elses", (0, 0))
    for index in range(1, 40):
        cache.get((str(index),), Writer(str(index)))
    assert cache.find(("0",)) is None and cache.find(("39",)) is not None
    assert len(list(tmp_path.iterdir())) < 30 and (tmp_path / "somebody-elses").is_dir()

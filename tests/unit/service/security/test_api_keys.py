"""Keys in a file: what holds, what does not, and what a change does."""

import os
from pathlib import Path

import pytest

from service.errors import Unauthenticated
from service.security import api_keys, watched
from service.security.allowance import Rate
from service.security.api_keys import KeyFile, entry_of, new_key
from service.security.watched import FileUnusable, Watched


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_keys, "_REREAD_S", 0.0)


def write(path: Path, text: str) -> None:
    """As an editor does: a new file under the old name."""
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)


def test_the_file_holds_no_key_and_finds_it(tmp_path: Path) -> None:
    """The entry has name, hash and scopes; the key made with it stands for them, with the file's own rates."""
    key, digest = new_key("line-a")
    path = tmp_path / "keys.toml"
    path.write_text(entry_of("line-a", digest, ["detect", "metrics"]) + "images_per_s = 5\nburst = 20\n")
    assert key.split(".")[1] not in path.read_text()
    found = KeyFile(path, Rate(images_per_s=1.0, images_per_day=9)).find(key)
    assert (found.name, found.scopes) == ("line-a", {"detect", "metrics"})
    assert found.rate == Rate(5.0, 20, 9)


@pytest.mark.parametrize("change", [lambda key: key + "x", lambda key: key[:-1], lambda key: "b" + key, lambda key: ""])
def test_anything_else_is_refused_in_the_same_words(tmp_path: Path, change: object) -> None:
    """A wrong name and a wrong secret cannot be told apart."""
    key, digest = new_key("a")
    path = tmp_path / "keys.toml"
    path.write_text(entry_of("a", digest, ["detect"]))
    assert callable(change)
    with pytest.raises(Unauthenticated, match=r"^This key is not valid here\.$"):
        KeyFile(path, Rate()).find(change(key))


def test_an_expired_key_is_refused(tmp_path: Path) -> None:
    """From its day on."""
    key, digest = new_key("a")
    path = tmp_path / "keys.toml"
    path.write_text(entry_of("a", digest, ["detect"]) + "expires = 2020-01-01\n")
    with pytest.raises(Unauthenticated, match="expired"):
        KeyFile(path, Rate()).find(key)


@pytest.mark.usefixtures("at_once")
def test_keys_come_and_go_without_a_restart(tmp_path: Path) -> None:
    """A key added is found, a key removed is refused, and a broken file changes nothing."""
    (old, old_hash), (new, new_hash) = new_key("old"), new_key("new")
    path = tmp_path / "keys.toml"
    path.write_text(entry_of("old", old_hash, ["detect"]))
    keys = KeyFile(path, Rate())
    write(path, entry_of("new", new_hash, ["detect"]))
    assert keys.find(new).name == "new"
    with pytest.raises(Unauthenticated):
        keys.find(old)
    write(path, "not [ TOML")
    assert keys.find(new).name == "new"
    path.unlink()
    assert keys.find(new).name == "new"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[", "keys.toml"),
        ('[a]\nsha256 = "12"\nscopes = ["detect"]', "a.sha256"),
        (f'[a]\nsha256 = "{"0" * 64}"\nscopes = ["everything"]', "a.scopes"),
        (f'[a]\nsha256 = "{"0" * 64}"\nscopes = []', "a.scopes"),
        (f'["A B"]\nsha256 = "{"0" * 64}"\nscopes = ["detect"]', "lower-case"),
        (f'[a]\nsha256 = "{"0" * 64}"\nscopes = ["detect"]\nimages_per_second = 1', "images_per_second"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, text: str, words: str) -> None:
    """At start, in one line; the key's name and the member, never a value."""
    path = tmp_path / "keys.toml"
    path.write_text(text)
    with pytest.raises(FileUnusable, match=words):
        KeyFile(path, Rate())


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """Nobody should run open because a mount was forgotten."""
    with pytest.raises(FileUnusable, match=r"none\.toml"):
        KeyFile(tmp_path / "none.toml", Rate())


def test_a_name_that_is_none_is_refused() -> None:
    """Names stand in logs and in TOML."""
    with pytest.raises(ValueError, match="lower-case"):
        new_key("A name")
    with pytest.raises(ValueError, match="no scope everything"):
        entry_of("a", "", ["everything"])


def test_a_swapped_symbolic_link_is_a_change(tmp_path: Path) -> None:
    """As Kubernetes updates a Secret's volume: the link turns to another folder, the name stays."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    link = tmp_path / "data"
    link.symlink_to(tmp_path / "one")
    value = Watched([link / "file"], lambda: (link / "file").read_text())
    assert value.now() == "one"
    os.replace(_link(tmp_path / "next", tmp_path / "two"), link)
    assert value.now() == "two"
    assert watched.FileUnusable.__base__ is OSError


def _link(at: Path, to: Path) -> Path:
    at.symlink_to(to)
    return at

"""Where samples lie: sealed, within a budget of bytes, and not for longer than said."""

import uuid
from pathlib import Path

import pytest

from service.sampling.seal import CannotOpen, KeyUnusable, Seal, new_key, read_seal
from service.sampling.store import SampleStore, StoreUnusable, TooLarge

HOUR_S = 3600.0


class Clock:
    now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


def key_file(folder: Path, *keys: str) -> Path:
    file = folder / f"{uuid.uuid4().hex}.key"
    file.write_text("\n".join(keys))
    return file


@pytest.fixture
def seal(tmp_path: Path) -> Seal:
    return read_seal(key_file(tmp_path, new_key()))


@pytest.fixture(params=["folder", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "kept") if request.param == "folder" else f"memory://{uuid.uuid4().hex}"


def store(url: str, seal: Seal | None, max_bytes: int = 10_000, clock: Clock | None = None) -> SampleStore:
    return SampleStore(url, seal, max_bytes, HOUR_S, clock or Clock())


def test_what_is_kept_comes_back_as_it_was_and_cannot_be_read_in_between(tmp_path: Path, seal: Seal) -> None:
    name = store(str(tmp_path / "kept"), seal).put(b"an image")
    (file,) = (tmp_path / "kept").iterdir()
    assert file.name == name and b"an image" not in file.read_bytes()
    again = store(str(tmp_path / "kept"), seal)
    assert again.names() == [name] and again.read(name) == b"an image"


def test_the_same_twice_is_sealed_in_two_ways(tmp_path: Path, seal: Seal) -> None:
    kept = store(str(tmp_path / "kept"), seal)
    kept.put(b"an image"), kept.put(b"an image")
    one, other = (file.read_bytes() for file in (tmp_path / "kept").iterdir())
    assert one[:12] != other[:12] and one[12:] != other[12:]


def test_another_key_opens_nothing_nor_does_a_changed_or_renamed_file(tmp_path: Path, seal: Seal) -> None:
    """A renamed file would live longer than it may."""
    folder = tmp_path / "kept"
    kept = store(str(folder), seal)
    name = kept.put(b"an image")
    with pytest.raises(CannotOpen, match="another key"):
        store(str(folder), read_seal(key_file(tmp_path, new_key()))).read(name)
    with pytest.raises(CannotOpen, match="its key is needed"):
        store(str(folder), None).read(name)
    later = f"2099{name[4:]}"
    (folder / later).write_bytes((folder / name).read_bytes())
    with pytest.raises(CannotOpen):
        kept.read(later)
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(CannotOpen):
        kept.read(name)


def test_a_new_key_seals_and_the_old_one_still_opens(tmp_path: Path) -> None:
    old, new = new_key(), new_key()
    before = store(str(tmp_path / "kept"), read_seal(key_file(tmp_path, old))).put(b"before")
    both = store(str(tmp_path / "kept"), read_seal(key_file(tmp_path, new, old)))
    after = both.put(b"after")
    assert (both.read(before), both.read(after)) == (b"before", b"after")
    assert store(str(tmp_path / "kept"), read_seal(key_file(tmp_path, new))).read(after) == b"after"


def test_what_has_expired_is_removed_and_nothing_else(url: str, seal: Seal) -> None:
    clock = Clock()
    kept = store(url, seal, clock=clock)
    kept.put(b"old")
    clock.now_s += HOUR_S / 2
    young = kept.put(b"young")
    clock.now_s += HOUR_S / 2
    kept.sweep()
    assert kept.names() == [young] and kept.kept == 1 and kept.used_bytes == 5 + 28  # nonce and tag
    clock.now_s += HOUR_S
    another = store(url, None, clock=clock)  # of another pod, without the key: old samples of dead pods go too
    another.sweep()
    assert another.names() == []


def test_files_of_others_are_neither_counted_nor_removed(tmp_path: Path, seal: Seal) -> None:
    folder, clock = tmp_path / "kept", Clock()
    (folder / "sub").mkdir(parents=True)
    others = [
        folder / "notes.txt",
        folder / "20200101T000000Z.zip",
        folder / "sub" / f"20200101T000000Z-{'0' * 16}.zip",
    ]
    for other in others:
        other.write_bytes(bytes(20_000))
    kept = store(str(folder), seal, clock=clock)
    kept.put(b"mine")
    clock.now_s += 2 * HOUR_S
    kept.sweep()
    assert kept.used_bytes == 0 and all(other.exists() for other in others)


def test_a_flood_never_takes_more_bytes_than_allowed_and_the_newest_stay(url: str, seal: Seal) -> None:
    clock = Clock()
    kept, names = store(url, seal, 5_000, clock), list[str]()
    for index in range(200):
        clock.now_s += 1
        names.append(kept.put(bytes(100 + 7 * index % 900)))
        assert kept.used_bytes <= 5_000
    there = store(url, seal, 5_000).names()
    assert len(there) >= 5 and there == names[-len(there) :]
    assert sum(len(kept.read(name)) + 28 for name in there) == kept.used_bytes


def test_what_another_pod_has_written_counts_from_the_first_look_on(tmp_path: Path, seal: Seal) -> None:
    url, clock = str(tmp_path / "kept"), Clock()
    first = store(url, seal, 1_000, clock).put(bytes(600))
    clock.now_s += 1
    second = store(url, seal, 1_000, clock).put(bytes(600))
    assert first != second and store(url, seal).names() == [second]


def test_one_sample_larger_than_the_whole_budget_is_refused_and_removes_nothing(url: str, seal: Seal) -> None:
    kept = store(url, seal, 1_000)
    name = kept.put(bytes(500))
    with pytest.raises(TooLarge):
        kept.put(bytes(1_000))
    assert kept.names() == [name]


def test_a_name_that_is_none_of_a_sample_is_not_read(tmp_path: Path, seal: Seal) -> None:
    (tmp_path / "secret").write_text("x")
    with pytest.raises(FileNotFoundError, match="not the name of a sample"):
        store(str(tmp_path / "kept"), seal).read("../secret")


def test_an_address_nobody_knows_is_refused_at_once(seal: Seal) -> None:
    with pytest.raises(StoreUnusable, match="carrierpigeon"):
        store("carrierpigeon://loft", seal)


@pytest.mark.parametrize(
    "content",
    ["", "short", "AAAA", "é" * 44, new_key()[:-4]],
    ids=["empty", "short", "three bytes", "not ASCII", "cut short"],
)
def test_a_file_without_whole_keys_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "samples.key"
    file.write_text(content)
    with pytest.raises(KeyUnusable, match=r"samples\.key"):
        read_seal(file)
    with pytest.raises(KeyUnusable, match=r"missing\.key"):
        read_seal(tmp_path / "missing.key")
